// What tests of the tables of webhooks stand on: a database with a pool as Willow opens it, a log with as many events as wanted, and an endpoint.

import type pg from 'pg';
import type { Actor } from '../../src/core/audit.ts';
import { createSealing, type Sealing } from '../../src/runtime/sealing.ts';
import { openPool } from '../../src/store/database.ts';
import { createEndpoint, type EndpointWish, type WithSecret } from '../../src/store/endpoints.ts';
import { type ClaimedLane, claimLanes } from '../../src/store/lane-leases.ts';
import { type LaneWrite, writeLanes } from '../../src/store/lanes.ts';
import { createDatabase, type TestDatabase } from './database.ts';

export const sealing: Sealing = createSealing([Buffer.alloc(32, 1)]);

export type Tables = AsyncDisposable & { readonly database: TestDatabase; readonly pool: pg.Pool };

export async function openTables(): Promise<Tables> {
  const database = await createDatabase();
  const pool = openPool(database.url, { connectionsMax: 16, statementMsMax: 20_000, onError: () => {} });
  return {
    database,
    pool,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Events at the given times, behind those that are there. */
export async function appendEvents(pool: pg.Pool, atMs: readonly number[]): Promise<void> {
  await pool.query(
    `with head as (update log_head set position = position + $2 returning position - $2 as base)
     insert into events (position, user_id, sequence, type, session_id, at)
     select base + n, 'ann', base + n, 'user.online', 's', to_timestamp(at / 1000)
     from head, unnest($1::float8[]) with ordinality as e(at, n)`,
    [atMs, atMs.length],
  );
}

/** As retention does: events up to a position are gone. */
export async function trim(pool: pg.Pool, position: number): Promise<void> {
  await pool.query('update log_head set trimmed = $1, horizon = (select max(at) from events where position <= $1)', [
    position,
  ]);
  await pool.query('delete from events where position <= $1', [position]);
  await pool.query('update log_tail set position = $1', [position]);
}

/** Who manages the endpoints of tests. */
export const actor: Actor = 'loopback';

export const wish: EndpointWish = {
  url: 'https://example.com/hook',
  description: null,
  events: null,
  lanes: 4,
  maxBatch: 1,
};

export async function make(
  pool: pg.Pool,
  more: Partial<EndpointWish & { readonly after: number | null; readonly isEnabled: boolean }> = {},
): Promise<WithSecret> {
  const made = await createEndpoint(pool, sealing, { ...wish, after: null, isEnabled: true, ...more }, actor);
  if (made.kind !== 'done') throw new Error(`no endpoint was made: ${JSON.stringify(made)}`);
  return made;
}

type LaneRow = {
  readonly generation: number;
  readonly lane: number;
  readonly of: number;
  readonly position: number;
  readonly until: number | null;
  readonly attempts: number;
  readonly token: number;
  readonly holder: string | null;
};

export async function lanesOf(pool: pg.Pool, endpointId: string): Promise<readonly LaneRow[]> {
  const { rows } = await pool.query<LaneRow>(
    `select generation, lane, "of", position, until, attempts, token, holder from lanes where endpoint_id = $1
     order by generation, lane`,
    [endpointId],
  );
  return rows;
}

/** Each division in short: generation, lanes, where they are, and where they end. */
export async function divisionsOf(pool: pg.Pool, endpointId: string): Promise<readonly string[]> {
  const lanes = await lanesOf(pool, endpointId);
  const byGeneration = Map.groupBy(lanes, ({ generation }) => generation);
  return [...byGeneration].map(([generation, members]) => {
    const numbers = members.map(({ lane }) => lane);
    const isWhole = members.every(({ of }, index) => of === members.length && numbers[index] === index);
    const places = [...new Set(members.map(({ position, until }) => `${position}-${until ?? ''}`))];
    return `${generation}: ${members.length}${isWhole ? '' : ' (not whole)'} at ${places.join(', ')}`;
  });
}

/** Takes every lane of the endpoint that may run, as a process does. */
export async function claimAll(pool: pg.Pool, holder: string, endpointId: string): Promise<readonly ClaimedLane[]> {
  return claimLanes(pool, { holder, leaseMs: 60_000, lanesMax: 100_000, endpointIds: [endpointId] });
}

/** Records that lanes are at a position; returns how many were still the holder's. */
export async function record(
  pool: pg.Pool,
  lanes: readonly ClaimedLane[],
  position: number,
  more: Partial<LaneWrite> = {},
): Promise<number> {
  const nothing = { isOver: false, attempts: [], parked: [], succeededAtMs: null, failedAtMs: null, disabled: null };
  const writes = lanes.map((lane) => ({ ...lane, ...nothing, state: { ...lane.state, position }, ...more }));
  return (await writeLanes(pool, writes)).length;
}
