// ?at= on presence: what was at a moment, from the log.

import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAsOfPort } from '../../src/app-reads.ts';
import { presenceAt } from '../../src/core/as-of.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { readPast } from '../../src/store/as-of.ts';
import { openPool } from '../../src/store/database.ts';
import { createPresenceReader } from '../../src/store/presence-reader.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { anySignal, live } from '../support/lives.ts';
import { overhear, rowsRead } from '../support/rows-read.ts';
import { type Chance, chanceOf } from '../support/storm.ts';

let database: TestDatabase;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createDatabase();
  pool = openPool(database.url, { connectionsMax: 4, statementMsMax: 30_000, onError: () => undefined });
});

afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});

const startMs = Date.parse('2026-11-01T10:00:00.000Z');
const dayMs = 86_400_000;
const atOnceMax = 250;

type Then = {
  readonly atMs: number;
  readonly status: string;
  readonly sinceMs: number | null;
  readonly sequence: number;
};
type EventRow = { readonly type: string; readonly session_id: string; readonly sequence: number; readonly at: number };

/** A fold of its own over all events: sessions are counted, and nothing is believed of what the events of the user say. */
function replay(events: readonly EventRow[], atMs: number): Omit<Then, 'atMs'> {
  const sessions = new Set<string>();
  const then = { status: 'offline', sinceMs: null as number | null, sequence: 0 };
  for (const { type, session_id: sessionId, sequence, at } of events) {
    if (at > atMs) break;
    if (type === 'session.started') sessions.add(sessionId);
    if (type === 'session.ended') sessions.delete(sessionId);
    const isOnline = sessions.size > 0;
    // An implied session that ends is an end as well: nobody was there before, and nobody is.
    const hasChanged = isOnline ? then.status === 'offline' : type === 'session.ended';
    if (hasChanged) Object.assign(then, { status: isOnline ? 'online' : 'offline', sinceMs: at });
    then.sequence = sequence;
  }
  return then;
}

const pastOf = async (...asked: Parameters<typeof readPast>) => {
  const { events, last } = await readPast(...asked);
  return [events, last] as const;
};

async function logOf(userId: string): Promise<readonly EventRow[]> {
  const { rows } = await pool.query<EventRow>(
    'select type, session_id, sequence, at from events where user_id = $1 order by sequence',
    [userId],
  );
  return rows;
}

/** Event times, a ms around them, times before the first and after the last. */
function anyMoment(chance: Chance, events: readonly EventRow[], endMs: number): number {
  if (chance.isIn(0.05) || events.length === 0) return startMs - 1 - chance.whole(1_000);
  if (chance.isIn(0.2)) return startMs + chance.whole(endMs - startMs + 1_000);
  return chance.pick(events).at + chance.pick([-1, 0, 0, 1]);
}

test('at 10,000 random moments the answer is that of a replay of the log', async () => {
  const chance = chanceOf('as of');
  const userIds = Array.from({ length: 25 }, (_, n) => UserId.parse(`user-${n}`));
  let nowMs = startMs;
  for (let batch = 0; batch < 150; batch += 1) {
    nowMs += chance.pick([0, 1, 7, 60, 1_000]);
    const signals = Array.from({ length: 12 }, () => anySignal(chance, chance.pick(userIds)));
    await live(pool, signals, nowMs);
  }
  const logs = new Map(await Promise.all(userIds.map(async (userId) => [userId, await logOf(userId)] as const)));
  const asOf = createAsOfPort(pool, { nowMs: () => nowMs, retentionDays: 30, horizonMs: async () => null });
  const asked = Array.from({ length: 10_000 }, () => {
    const userId = chance.pick(userIds);
    const events = logs.get(userId) ?? [];
    return { userId, events, atMs: anyMoment(chance, events, nowMs) };
  });
  const met = { online: 0, offline: 0 };
  for (let first = 0; first < asked.length; first += atOnceMax) {
    const some = asked.slice(first, first + atOnceMax);
    const answers = await Promise.all(some.map(({ userId, atMs }) => asOf(userId, atMs)));
    for (const [n, { userId, events, atMs }] of some.entries()) {
      const then = replay(events, atMs);
      expect(answers[n], `${userId} at ${atMs}`).toEqual({ kind: 'known', past: { userId, ...then, atMs } });
      met[then.status as 'online' | 'offline'] += 1;
    }
  }
  expect(Math.min(met.online, met.offline)).toBeGreaterThan(1_000);

  // And at the end of the log it is what is shown now.
  const read = createPresenceReader(pool, { clientId: 'willow', sharedGroup: null });
  for (const userId of userIds) {
    const { status, sinceMs, sequence } = await read(userId);
    expect(presenceAt(userId, nowMs, ...(await pastOf(pool, userId, nowMs)))).toEqual({
      userId,
      status,
      sinceMs,
      sequence,
      atMs: nowMs,
    });
  }
});

describe('the log no longer tells', () => {
  const ask = (atMs: number, horizonMs: number | null, nowMs = startMs) =>
    createAsOfPort(pool, { nowMs: () => nowMs, retentionDays: 30, horizonMs: async () => horizonMs })(
      UserId.parse('x'),
      atMs,
    );

  test.each([
    ['days ago', null, startMs - 30 * dayMs],
    ['up to a time that the database remembers, whatever the setting says now', startMs - 5_000, startMs - 5_000],
    ['up to the later one of the two', startMs - 40 * dayMs, startMs - 30 * dayMs],
  ])('of %s: it is said from when on it does, and there it does', async (_what, horizonMs, oldestMs) => {
    expect(await ask(oldestMs, horizonMs)).toMatchObject({ kind: 'known' });
    const gone = await ask(oldestMs - 1, horizonMs);
    if (gone.kind !== 'gone') throw new Error('it is still told');
    expect(gone.fromMs % 60_000).toBe(0);
    // A minute later too, when the caller asks again.
    expect(await ask(gone.fromMs, horizonMs, startMs + 60_000)).toMatchObject({ kind: 'known' });
  });
});

test('a user of 300,000 events is not read whole, however long ago the moment is', async () => {
  const [{ at: beginMs } = { at: 0 }] = (
    await pool.query<{ at: number }>(`
      with made as (insert into events (position, user_id, sequence, type, session_id, at)
        select 1000000 + n, 'busy', n, case n % 4 when 1 then 'session.started' when 2 then 'user.online' when 3 then 'session.ended' else 'user.offline' end,
          'phone', timestamptz '2026-11-02' + ((n - 1) / 4) * interval '1 ms'
        from generate_series(1, 300000) n)
      insert into users (user_id, revision, sequence) values ('busy', 1, 300000) returning timestamptz '2026-11-02' as at`)
  ).rows;
  const { pool: listening, asked } = overhear(pool);
  for (const n of [0, 1, 5_000, 37_500, 74_999, 80_000]) {
    expect((await readPast(listening, UserId.parse('busy'), beginMs + n)).events).toHaveLength(1);
  }
  for (const { text, values } of asked) expect(await rowsRead(pool, text, values)).toBeLessThan(200);
  expect(asked).toHaveLength(6);
});

test('a user who has been online all the time is not read back to when he came', async () => {
  const { rows } = await pool.query<{ at: number }>(`
    with made as (insert into events (position, user_id, sequence, type, session_id, at)
      select 2000000 + n, 'always', n, case when n = 2 then 'user.online' when n % 2 = 1 then 'session.started' else 'session.ended' end,
        's' || n / 2, timestamptz '2026-11-02' + (n / 2) * interval '1 ms' from generate_series(1, 300000) n),
    living as (insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at)
      values ('always', 'main', 'online', 1, now(), now()))
    insert into users (user_id, revision, sequence, since) values ('always', 1, 300000, timestamptz '2026-11-02')
    returning timestamptz '2026-11-02' as at`);
  const beginMs = rows[0]?.at ?? 0;
  const { pool: listening, asked } = overhear(pool);
  for (const n of [1, 5_000, 149_999, 900_000]) {
    const past = presenceAt(
      UserId.parse('always'),
      beginMs + n,
      ...(await pastOf(listening, UserId.parse('always'), beginMs + n)),
    );
    expect(past).toMatchObject({ status: 'online', sinceMs: beginMs, sequence: Math.min(2 * n + 1, 300_000) });
  }
  for (const { text, values } of asked) expect(await rowsRead(pool, text, values)).toBeLessThan(200);
  expect(asked).toHaveLength(4);
});

test('of a user whose erasure is under way, or was cut off, it is never said that he was offline since never', async () => {
  const userId = UserId.parse('half-erased');
  for (const [n, sessionId] of ['a', 'b', 'c', 'd'].entries()) {
    const heard = { userId, epoch: Epoch.parse(1), clientId: null, device: null, isRedelivery: false, ticket: null };
    await live(pool, [{ kind: 'login', ...heard, sessionId: SessionId.parse(sessionId) }], startMs + n * 1_000);
  }
  const asOf = createAsOfPort(pool, { nowMs: () => startMs + 10_000, retentionDays: 30, horizonMs: async () => null });
  const before = await asOf(userId, startMs);
  expect(before).toMatchObject({ kind: 'known', past: { status: 'online', sinceMs: startMs, sequence: 2 } });
  expect(await asOf(userId, startMs - 1)).toMatchObject({ past: { status: 'offline', sinceMs: null, sequence: 0 } });
  for (const gone of [1, 2, 3, 4]) {
    await pool.query('delete from events where user_id = $1 and sequence <= $2', [userId, gone]);
    for (const atMs of [startMs - 1, startMs]) {
      const told = await asOf(userId, atMs);
      const isLeft = gone === 1 && atMs === startMs;
      expect(told.kind, `${gone} gone, at ${atMs - startMs}`).toBe(isLeft ? 'known' : 'gone');
      if (told.kind === 'gone') expect(told.fromMs).toBeGreaterThan(startMs);
    }
    // What is left still tells.
    expect(await asOf(userId, startMs + 3_000)).toMatchObject({
      past: { status: 'online', sinceMs: startMs, sequence: 5 },
    });
  }
});
