// Which process runs which lanes: leased, by the clock of the database. A new holder gets a larger token, and what an older one writes then
// changes nothing (lanes.ts).

import type pg from 'pg';
import { ask } from './database.ts';
import { keyColumns, type LaneKey, type LaneState } from './lanes.ts';

export type ClaimedLane = LaneKey & {
  readonly of: number;
  readonly until: number | null;
  readonly token: number;
  readonly state: LaneState;
};

type LaneRow = {
  readonly endpoint_id: string;
  readonly generation: number;
  readonly lane: number;
  readonly of: number;
  readonly until: number | null;
  readonly token: number;
  readonly position: number;
  readonly attempts: number;
  readonly refusals: number;
  readonly first_failed_at: number | null;
  readonly next_at: number;
  readonly batch: readonly string[] | null;
  readonly singles_to: number | null;
};

/** Processes that were not heard of for so long are gone, and get no share. As long as a lease: what they held can be taken by then. */
const workerGoneMs = 6_000;

/** Tells that this process is there, keeps its lanes, and returns those that it still has. */
export async function renewLanes(
  pool: pg.Pool,
  { holder, leaseMs }: { readonly holder: string; readonly leaseMs: number },
): Promise<readonly (LaneKey & { readonly token: number })[]> {
  const { rows } = await ask<LaneRow>(pool, {
    name: 'renew-lanes',
    text: `with here as (
        insert into workers (holder, seen_at) values ($1, clock_timestamp())
        on conflict (holder) do update set seen_at = excluded.seen_at),
      gone as (delete from workers where seen_at < clock_timestamp() - 10 * interval '${workerGoneMs} ms'),
      mine as (
        select endpoint_id, generation, lane from lanes where holder = $1
        order by endpoint_id collate "C", generation, lane for update)
      update lanes l set lease_until = clock_timestamp() + $2 * interval '1 ms' from mine m
      where l.endpoint_id = m.endpoint_id and l.generation = m.generation and l.lane = m.lane and l.holder = $1
      returning l.endpoint_id, l.generation, l.lane, l.token`,
    values: [holder, leaseMs],
  });
  return rows.map(({ endpoint_id, generation, lane, token }) => ({ endpointId: endpoint_id, generation, lane, token }));
}

/** A fair share of the lanes of these endpoints: all of them, divided by the processes that are there. */
export async function fairShare(pool: pg.Pool, endpointIds: readonly string[]): Promise<number> {
  const { rows } = await ask<{ share: number }>(pool, {
    name: 'fair-share',
    text: `select ceil((select count(*) from lanes l where l.endpoint_id = any($1::text[]))::float8
      / greatest(1, (select count(*) from workers where seen_at > clock_timestamp() - interval '${workerGoneMs} ms')))::int as share`,
    values: [endpointIds],
  });
  return rows[0]?.share ?? 0;
}

/**
 * Lanes of these endpoints that nobody holds, as many as wanted. Those of a new division of an endpoint wait until the old ones have come to their end: a user's
 * events are never in two lanes at once.
 */
export async function claimLanes(
  pool: pg.Pool,
  claim: {
    readonly holder: string;
    readonly leaseMs: number;
    readonly lanesMax: number;
    readonly endpointIds: readonly string[];
  },
): Promise<readonly ClaimedLane[]> {
  const { rows } = await ask<LaneRow>(pool, {
    name: 'claim-lanes',
    text: `update lanes l set token = l.token + 1, holder = $1, lease_until = clock_timestamp() + $2 * interval '1 ms'
      from (select f.endpoint_id, f.generation, f.lane from lanes f join endpoints e on e.id = f.endpoint_id
        where e.status = 'enabled' and e.id = any($4::text[]) and (f.lease_until is null or f.lease_until < clock_timestamp())
          and not exists (select from lanes o where o.endpoint_id = f.endpoint_id and o.generation < f.generation)
        order by f.lane, f.endpoint_id limit $3 for update of f skip locked) free
      where l.endpoint_id = free.endpoint_id and l.generation = free.generation and l.lane = free.lane
      returning l.*`,
    values: [claim.holder, claim.leaseMs, claim.lanesMax, claim.endpointIds],
  });
  return rows.map(laneOf);
}

function laneOf(row: LaneRow): ClaimedLane {
  return {
    endpointId: row.endpoint_id,
    generation: row.generation,
    lane: row.lane,
    of: row.of,
    until: row.until,
    token: row.token,
    state: {
      position: row.position,
      attempts: row.attempts,
      refusals: row.refusals,
      firstFailedAtMs: row.first_failed_at,
      nextAtMs: row.next_at,
      batch: row.batch?.map(Number) ?? null,
      singlesTo: row.singles_to,
    },
  };
}

/** Lets others have them at once. */
export async function releaseLanes(
  pool: pg.Pool,
  lanes: readonly (LaneKey & { readonly token: number })[],
): Promise<void> {
  await ask(pool, {
    name: 'release-lanes',
    text: `update lanes l set holder = null, lease_until = null
      from unnest($1::text[], $2::int[], $3::int[], $4::bigint[]) as r(endpoint_id, generation, lane, token)
      where l.endpoint_id = r.endpoint_id and l.generation = r.generation and l.lane = r.lane and l.token = r.token`,
    values: keyColumns(lanes),
  });
}

/** This process takes no part any more: others can have what it held at once. */
export async function leaveWorkers(pool: pg.Pool, holder: string): Promise<void> {
  await ask(pool, {
    name: 'leave-workers',
    text: `with free as (update lanes set holder = null, lease_until = null where holder = $1)
      delete from workers where holder = $1`,
    values: [holder],
  });
}
