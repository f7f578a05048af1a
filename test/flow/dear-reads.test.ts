// What is asked of many, or of the past, has a share of the connections, however much of it is asked for: whoever asks whether one user is
// online, and whoever asks whether Willow is well, is answered meanwhile.

import { expect, test } from 'vitest';
import { atMost } from '../../src/runtime/at-most.ts';
import { call } from '../support/http.ts';
import { announcedWhen, openStage } from '../support/stage.ts';
import { until } from '../support/until.ts';

const readers = 200;
const past = '/users/ann/presence?at=2026-01-01T00:00:00Z';

test.each([
  ['of all kinds', ['/events', '/users/ann/events', past, '/events?user=ann'], 3],
  ['of the past', [past], 2],
])('200 dear reads %s are waiting: one presence and /readyz are answered', async (_what, paths, heldMax) => {
  await using stage = await openStage({ GRACE_MS: '0' });
  const { willow, voice, database } = stage;
  await voice.say('/login', { userId: 'ann', sessionId: 'phone', epoch: 1 });
  await announcedWhen(willow, 'ann', 2);
  const client = await database.pool.connect();
  await client.query('begin; lock table events in access exclusive mode');
  // Locks are told of one moment, which what is told of processes is not: one that has given up would be counted with the one after it.
  // Retention, on a connection of its own, waits for the same table.
  const held = async () => {
    const { rows } = await database.pool.query<{ count: number }>(
      `select count(*)::int as count from pg_locks l join pg_stat_activity a using (pid)
       where not l.granted and l.relation = 'events'::regclass and a.application_name = 'willow' and a.query !~ 'log_tail'`,
    );
    return rows[0]?.count ?? 0;
  };
  const reads = Promise.all(
    Array.from({ length: readers }, (_, n) =>
      call(`${willow.http}${paths[n % paths.length]}`).then(({ status }) => status),
    ),
  );
  // Where the test fails before they are answered, it says why itself.
  reads.catch(() => undefined);
  try {
    await until('as many are held up as may be', async () => (await held()) === heldMax);
    for (let count = 0; count < 10; count += 1) {
      const { status, body } = await call<{ status: string }>(`${willow.http}/users/ann/presence`);
      expect([status, body.status]).toEqual([200, 'online']);
      expect((await call(`${willow.http}/readyz`)).status).toBe(200);
      expect(await held()).toBeLessThanOrEqual(heldMax);
    }
  } finally {
    await client.query('rollback');
    client.release();
  }
  // Nobody is forgotten: in their turn all are answered, or told that they waited for too long.
  const answered = (status: number) => status === 200 || status === 410;
  expect((await reads).filter((status) => !answered(status) && status !== 503)).toEqual([]);
  for (const path of paths) expect(answered((await call(`${willow.http}${path}`)).status), path).toBe(true);
});

test('whoever waits has his turn in order, and no more are under way than may be, whatever fails', async () => {
  const inTurn = atMost(2);
  const begun: number[] = [];
  let [underWay, most] = [0, 0];
  const reads = Array.from({ length: 50 }, (_, n) =>
    inTurn(async () => {
      begun.push(n);
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise(setImmediate);
      underWay -= 1;
      if (n % 3 === 0) throw new Error('it failed');
    }),
  );
  const ends = await Promise.allSettled(reads);
  expect(begun).toEqual(Array.from({ length: 50 }, (_, n) => n));
  expect([most, underWay]).toEqual([2, 0]);
  expect(ends.filter(({ status }) => status === 'rejected')).toHaveLength(17);
});

test('whoever waits for too long is told so, and takes no turn', async () => {
  const inTurn = atMost(1, { waitMsMax: 20, error: () => new Error('too many are waiting') });
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = inTurn(() => promise);
  let isBegun = false;
  const late = inTurn(async () => {
    isBegun = true;
  });
  await expect(late).rejects.toThrow('too many are waiting');
  resolve();
  await first;
  expect(await inTurn(async () => 'next')).toBe('next');
  expect(isBegun).toBe(false);
});
