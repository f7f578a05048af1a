// What is asked of many, or of the past, has a share of the connections, however much of it is asked for: whoever asks whether one user is
// online, how many are, and whether Willow is well, is answered meanwhile; and whoever hangs up waits no longer.

import { expect, test } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { call, type ProblemBody } from '../support/http.ts';
import { announcedWhen, openStage } from '../support/stage.ts';
import { lockTables } from '../support/table-lock.ts';
import { until } from '../support/until.ts';

const readers = 200;
const past = '/users/ann/presence?at=2026-01-01T00:00:00Z';

test.each([
  ['of all kinds', ['/events', '/users/ann/events', past, '/events?user=ann'], 3],
  ['of the past', [past], 2],
])(
  '200 dear reads %s are waiting: one presence, the counts and /readyz are answered',
  async (_what, paths, heldMax) => {
    await using stage = await openStage({ GRACE_MS: '0' });
    const { willow, voice, database } = stage;
    await voice.say('/login', { userId: 'ann', sessionId: 'phone', epoch: 1 });
    await announcedWhen(willow, 'ann', 2);
    await using lock = await lockTable(database, 'events');
    const held = async () => (await lock.heldUp()).length;
    let isReleased = false;
    // However long it takes to look at them, as many are asked.
    const read = async (path: string): Promise<number> => {
      const { status } = await call(`${willow.http}${path}`);
      return status === 503 && !isReleased ? read(path) : status;
    };
    const reads = Promise.all(Array.from({ length: readers }, (_, n) => read(paths[n % paths.length] ?? '')));
    // Where the test fails before they are answered, it says why itself.
    reads.catch(() => undefined);
    await until('as many are held up as may be', async () => (await held()) === heldMax);
    await until('the others counted as waiting', async () => (await willow.metric('willow_http_waiting')) > 0);
    for (let count = 0; count < 10; count += 1) {
      const { status, body } = await call<{ status: string }>(`${willow.http}/users/ann/presence`);
      expect([status, body.status]).toEqual([200, 'online']);
      expect((await call<{ online: number }>(`${willow.http}/presence/counts`)).body.online).toBe(1);
      expect((await call(`${willow.http}/readyz`)).status).toBe(200);
      expect(await held()).toBeLessThanOrEqual(heldMax);
    }
    isReleased = true;
    await lock.release();
    // Nobody is forgotten: in their turn all are answered, or told that they waited for too long.
    const answered = (status: number) => status === 200 || status === 410;
    expect((await reads).filter((status) => !answered(status) && status !== 503)).toEqual([]);
    for (const path of paths) expect(answered((await call(`${willow.http}${path}`)).status), path).toBe(true);
  },
);

test('dear reads of callers who have hung up wait no longer, and whoever comes then is answered', async () => {
  await using stage = await openStage({ GRACE_MS: '0' });
  const { willow, voice, database } = stage;
  await voice.say('/login', { userId: 'ann', sessionId: 'phone', epoch: 1 });
  await announcedWhen(willow, 'ann', 2);
  await using lock = await lockTable(database, 'events');
  const hangUp = new AbortController();
  const read = async (): Promise<void> => {
    await call(`${willow.http}/events`, { signal: hangUp.signal });
    await read();
  };
  const reads = Promise.allSettled(Array.from({ length: 20 }, read));
  const waiting = () => willow.metric('willow_http_waiting');
  const refused = () => willow.metric('willow_http_refused_total', { why: 'no-turn' });
  await until('all of them asked', async () => (await waiting()) === 17);
  const before = await refused();
  hangUp.abort();
  await reads;
  await until('nobody waiting', async () => (await waiting()) === 0);
  // They were not told that it took too long; on a slow machine a few of them were, before they hung up.
  expect((await refused()) - before).toBeLessThan(10);
  const late = call<{ data: unknown[] }>(`${willow.http}/events`);
  await lock.release();
  expect((await late).body.data).toHaveLength(2);
});

test('counts that failed are counted anew as soon as they can be, and so are the gauges', async () => {
  await using stage = await openStage({ GRACE_MS: '0' });
  const { willow, voice, database } = stage;
  await voice.say('/login', { userId: 'ann', sessionId: 'phone', epoch: 1 });
  await announcedWhen(willow, 'ann', 2);
  await using lock = await lockTable(database, 'users');
  const failing = call<ProblemBody>(`${willow.http}/presence/counts`);
  const [pid] = await until('the counts held up', async () => {
    const pids = await lock.heldUp();
    return pids.length > 0 && pids;
  });
  await database.pool.query('select pg_terminate_backend($1)', [pid]);
  expect((await failing).body.type).toBe('urn:willow:problem:database-unavailable');
  await lock.release();
  expect((await call<{ online: number }>(`${willow.http}/presence/counts`)).body.online).toBe(1);
  expect(await willow.metric('willow_users_online')).toBe(1);
});

/** Whoever of Willow wants the table waits until it is released. */
async function lockTable(database: TestDatabase, table: string) {
  const lock = await lockTables(database, table);
  // Locks are told of one moment, which what is told of processes is not: one that has given up would be counted with the one after it.
  // Retention and the lanes of webhooks, on connections of their own, wait for the log as well; of what they ask, the beginning is shown.
  const heldUp = async (): Promise<readonly number[]> => {
    const { rows } = await database.pool.query<{ pid: number }>(
      `select pid from pg_locks l join pg_stat_activity a using (pid)
       where not l.granted and a.datname = current_database() and l.relation = $1::regclass and a.application_name = 'willow' and a.query !~ 'log_tail|with next as|^select h.position as head'`,
      [table],
    );
    return rows.map(({ pid }) => pid);
  };
  return { ...lock, heldUp };
}
