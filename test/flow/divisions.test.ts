import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { changeEndpoint, getEndpoint, replayEndpoint } from '../../src/store/endpoints.ts';
import { releaseLanes, renewLanes } from '../../src/store/lane-leases.ts';
import { listSigningEndpoints } from '../../src/store/signing.ts';
import {
  actor,
  appendEvents,
  claimAll,
  divisionsOf,
  lanesOf,
  make,
  openTables,
  record,
  type Tables,
  trim,
} from '../support/endpoints.ts';

let tables: Tables;
beforeAll(async () => {
  tables = await openTables();
  await appendEvents(
    tables.pool,
    Array.from({ length: 100 }, (_, n) => n),
  );
});
afterAll(() => tables[Symbol.asyncDispose]());

/** As a process does when it finds that lanes of its own have changed. */
async function giveBack(pool: pg.Pool, holder: string): Promise<void> {
  await releaseLanes(pool, await renewLanes(pool, { holder, leaseMs: 60_000 }));
}

describe('a change of lanes', () => {
  test('lets the old ones come to the mark first, and no new one runs before all of them are gone', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool, { lanes: 2, after: 0 });
    const { id } = endpoint;
    const held = await claimAll(pool, 'p1', id);
    expect(held).toHaveLength(2);
    await changeEndpoint(pool, id, { lanes: 3 }, actor);
    expect(await divisionsOf(pool, id)).toEqual(['1: 2 at 0-100', '2: 3 at 100-']);

    // Who held one has lost it: it does not know of the mark.
    expect(await record(pool, held, 7)).toBe(0);

    // Nobody else gets them before it has noticed, and given them back.
    expect(await claimAll(pool, 'p2', id)).toEqual([]);
    await giveBack(pool, 'p1');

    const old = await claimAll(pool, 'p1', id);
    expect(old.map(({ generation, until }) => [generation, until])).toEqual([
      [1, 100],
      [1, 100],
    ]);
    await record(pool, old.slice(0, 1), 100, { isOver: true });
    expect(await claimAll(pool, 'p1', id)).toEqual([]);
    await record(pool, old.slice(1), 100, { isOver: true });
    const young = await claimAll(pool, 'p1', id);
    expect(young.map(({ generation, of, state }) => [generation, of, state.position])).toEqual([
      [2, 3, 100],
      [2, 3, 100],
      [2, 3, 100],
    ]);
  });

  test('while an older one is on its way takes the place of the one that waits, and moves no mark', async () => {
    await using own = await openTables();
    const { pool } = own;
    await appendEvents(pool, [1, 2]);
    const { endpoint } = await make(pool, { lanes: 2, after: 0 });
    await changeEndpoint(pool, endpoint.id, { lanes: 3 }, actor);
    await appendEvents(pool, [3]);
    await changeEndpoint(pool, endpoint.id, { lanes: 5 }, actor);
    expect(await divisionsOf(pool, endpoint.id)).toEqual(['1: 2 at 0-2', '3: 5 at 2-']);
    expect(await getEndpoint(pool, endpoint.id)).toMatchObject({ lanes: 5, position: 0, head: 3 });
    await changeEndpoint(pool, endpoint.id, { lanes: 5 }, actor);
    expect(await divisionsOf(pool, endpoint.id)).toEqual(['1: 2 at 0-2', '3: 5 at 2-']);
  });
});

test('those who send are told how many lanes of an endpoint fail, while it fails; what is only refused is no failure', async () => {
  const { pool } = tables;
  const { endpoint } = await make(pool);
  const held = await claimAll(pool, 'p1', endpoint.id);
  const failingLanes = async () => {
    const found = (await listSigningEndpoints(pool)).find(({ id }) => id === endpoint.id);
    return found?.failingLanes;
  };
  const failed = (attempts: number, refusals: number) =>
    held.map((lane) => ({ ...lane, state: { ...lane.state, attempts, refusals } }));
  expect(await failingLanes()).toBe(0);
  await record(pool, failed(3, 1).slice(0, 2), 100, { failedAtMs: 1 });
  expect(await failingLanes()).toBe(2);
  await record(pool, failed(2, 2).slice(2), 100);
  expect(await failingLanes()).toBe(2);
  await record(pool, failed(0, 0).slice(0, 1), 100);
  expect(await failingLanes()).toBe(1);
  await record(pool, failed(0, 0).slice(2), 100, { succeededAtMs: 2 });
  expect(await failingLanes()).toBe(0);
});

describe('a replay', () => {
  test('moves all lanes back at once; whoever held one writes nothing any more, and gives it back first', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool);
    const { id } = endpoint;
    const held = await claimAll(pool, 'p1', id);
    expect(held).toHaveLength(4);
    expect(await replayEndpoint(pool, id, 40, actor)).toMatchObject({ kind: 'done', endpoint: { position: 40 } });
    expect(await divisionsOf(pool, id)).toEqual(['1: 4 at 40-']);
    expect(await record(pool, held, 100)).toBe(0);
    expect(await record(pool, held, 100, { isOver: true })).toBe(0);
    expect(await claimAll(pool, 'p2', id)).toEqual([]);
    await giveBack(pool, 'p1');
    const next = await claimAll(pool, 'p2', id);
    expect(next.map(({ state }) => state.position)).toEqual([40, 40, 40, 40]);
    expect(await record(pool, next, 50)).toBe(4);
    expect(await getEndpoint(pool, id)).toMatchObject({ position: 50, head: 100 });
  });

  test('moves no lane forward: each goes back to the position, or stays where it is', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool, { after: 20 });
    const { id } = endpoint;
    const [ahead, ...others] = await claimAll(pool, 'p1', id);
    await record(pool, ahead === undefined ? [] : [ahead], 80);
    await record(pool, others.slice(0, 1), 30);
    const places = async () => (await lanesOf(pool, id)).map(({ position }) => position).toSorted((a, b) => a - b);
    expect(await places()).toEqual([20, 20, 30, 80]);
    expect(await replayEndpoint(pool, id, 100, actor)).toMatchObject({ kind: 'done', endpoint: { position: 20 } });
    expect(await places()).toEqual([20, 20, 30, 80]);
    await replayEndpoint(pool, id, 50, actor);
    expect(await places()).toEqual([20, 20, 30, 50]);
    await replayEndpoint(pool, id, 10, actor);
    expect(await places()).toEqual([10, 10, 10, 10]);
  });

  test('leaves a batch fixed that was fixed before its position, and no other', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool, { lanes: 1, maxBatch: 3, after: 20 });
    const { id } = endpoint;
    const [lane] = await claimAll(pool, 'p1', id);
    if (lane === undefined) throw new Error('there is no lane');
    await record(pool, [lane], 20, { state: { ...lane.state, batch: [21, 22, 25], singlesTo: 30 } });
    const fixed = async (): Promise<unknown> => {
      const { rows } = await pool.query('select position, batch::int[], singles_to from lanes where endpoint_id = $1', [
        id,
      ]);
      return rows[0];
    };
    await replayEndpoint(pool, id, 22, actor);
    expect(await fixed()).toEqual({ position: 20, batch: [21, 22, 25], singles_to: 30 });
    await replayEndpoint(pool, id, 19, actor);
    expect(await fixed()).toEqual({ position: 19, batch: null, singles_to: null });
  });

  test('during a change of lanes moves the old ones, those that have come to the mark too; the new ones go on to wait', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool, { after: 60 });
    const { id } = endpoint;
    await changeEndpoint(pool, id, { lanes: 2 }, actor);
    const old = await claimAll(pool, 'p1', id);
    await record(pool, old.slice(0, 3), 100, { isOver: true });
    expect(await divisionsOf(pool, id)).toEqual(['1: 1 (not whole) at 60-100', '2: 2 at 100-']);
    await replayEndpoint(pool, id, 100, actor);
    expect(await divisionsOf(pool, id)).toEqual(['1: 1 (not whole) at 60-100', '2: 2 at 100-']);
    await replayEndpoint(pool, id, 3, actor);
    expect(await divisionsOf(pool, id)).toEqual(['1: 4 at 3-100', '2: 2 at 100-']);
  });

  test('lifts an endpoint over what the log no longer has, and over nothing else', async () => {
    await using own = await openTables();
    await appendEvents(own.pool, [1, 2, 3, 4, 5]);
    const { endpoint } = await make(own.pool, { after: 0 });
    await trim(own.pool, 2);
    expect(await replayEndpoint(own.pool, endpoint.id, 5, actor)).toMatchObject({ endpoint: { position: 2 } });
  });

  test('keeps within the log, and leaves an endpoint that is unknown alone', async () => {
    await using own = await openTables();
    await appendEvents(own.pool, [1, 2, 3]);
    const { endpoint } = await make(own.pool);
    await trim(own.pool, 1);
    expect(await replayEndpoint(own.pool, endpoint.id, 0, actor)).toEqual({ kind: 'gone', startsAfter: 1 });
    expect(await replayEndpoint(own.pool, endpoint.id, 4, actor)).toEqual({ kind: 'ahead', head: 3 });
    expect(await divisionsOf(own.pool, endpoint.id)).toEqual(['1: 4 at 3-']);
    expect(await replayEndpoint(own.pool, endpoint.id, 1, actor)).toMatchObject({ kind: 'done' });
    expect(await replayEndpoint(own.pool, 'whe_nobody', 1, actor)).toEqual({ kind: 'unknown' });
  });
});

test('managing an endpoint and recording what its lanes did do not stop each other for good', async () => {
  const { pool } = tables;
  const { endpoint } = await make(pool, { lanes: 16 });
  const { id } = endpoint;
  const acts = Array.from({ length: 40 }, (_, n) =>
    n % 2 === 0 ? changeEndpoint(pool, id, { lanes: 16 + (n % 3) }, actor) : replayEndpoint(pool, id, n, actor),
  );
  const attempt = { webhookId: 'x', first: 1, last: 1, count: 1, atMs: 1, durationMs: 1, outcome: 'done', status: 200 };
  const recording = async (): Promise<void> => {
    for (let n = 0; n < 40; n += 1) {
      const lanes = await claimAll(pool, `p${n}`, id);
      const more = { attempts: [{ ...attempt, detail: null, body: null }], succeededAtMs: n };
      if (lanes.length > 0) await record(pool, lanes, n, more);
    }
  };
  const [done] = await Promise.all([Promise.all(acts), recording()]);
  expect(done.map(({ kind }) => kind)).toEqual(done.map(() => 'done'));
  const divisions = await divisionsOf(pool, id);
  expect(divisions.length).toBeLessThanOrEqual(2);
  expect(divisions.join()).not.toContain('not whole');
});
