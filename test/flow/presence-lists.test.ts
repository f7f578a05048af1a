// The presence of many: the query, the pages and the counts say what is true, all at one position of the log.

import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserId } from '../../src/core/ids.ts';
import { readCounts } from '../../src/store/counts.ts';
import { openPool } from '../../src/store/database.ts';
import { readLog } from '../../src/store/log.ts';
import {
  listPresence,
  type PageFilter,
  queryPresence,
  sessionsAtOnceMax,
  usersWalkedMax,
} from '../../src/store/presence-lists.ts';
import { createPresenceReader, type VersionedPresence } from '../../src/store/presence-reader.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { anySignal, live } from '../support/lives.ts';
import { overhear, rowsRead } from '../support/rows-read.ts';
import { chanceOf } from '../support/storm.ts';

const scope = { clientId: 'willow', sharedGroup: null };
const startMs = Date.parse('2026-11-23T10:00:00.000Z');

async function open(): Promise<TestDatabase & { readonly willow: pg.Pool }> {
  const database = await createDatabase();
  const willow = openPool(database.url, { connectionsMax: 4, statementMsMax: 30_000, onError: () => undefined });
  await willow.query(`insert into links (client_id, token, holder, lease_until, connected_since, heard_at)
    values ('willow', 1, 'somebody', 'infinity', now(), now())`);
  const dispose = database[Symbol.asyncDispose].bind(database);
  return {
    ...database,
    willow,
    [Symbol.asyncDispose]: async () => {
      await willow.end();
      await dispose();
    },
  };
}

async function readAll(pool: pg.Pool, filter: PageFilter, limit: number, onPage?: () => Promise<void>) {
  const users: Awaited<ReturnType<typeof listPresence>>['users'][number][] = [];
  const heads: number[] = [];
  let after: UserId | null = null;
  do {
    const page = await listPresence(pool, scope, filter, { limit, after });
    expect(page.users.length).toBeLessThanOrEqual(limit);
    users.push(...page.users);
    heads.push(page.head);
    after = page.nextAfter;
    await onPage?.();
  } while (after !== null);
  return { users, heads };
}

/** As it is shown without the sessions. */
const summaryOf = ({ userId, status, sinceMs, lastSeenAtMs, sequence, asOfMs, isStale }: VersionedPresence) => ({
  userId,
  status,
  sinceMs,
  lastSeenAtMs,
  sequence,
  asOfMs,
  isStale,
});

describe('of users with a past', () => {
  let database: Awaited<ReturnType<typeof open>>;
  let pool: pg.Pool;
  const userIds = [
    'Ä',
    'a',
    'b',
    'B',
    'user 10',
    'user 9',
    '"',
    '\u{1F44D}',
    ...Array.from({ length: 52 }, (_, n) => `u${n}`),
  ].map((id) => UserId.parse(id));

  beforeAll(async () => {
    database = await open();
    pool = database.willow;
    const chance = chanceOf('the presence of many');
    for (let batch = 0; batch < 60; batch += 1) {
      await live(
        pool,
        Array.from({ length: 8 }, () => anySignal(chance, chance.pick(userIds))),
        startMs + batch * 20,
      );
    }
  });
  afterAll(() => database[Symbol.asyncDispose]());

  test('the query answers each as he is answered alone, in the order asked, with repeats and strangers', async () => {
    const read = createPresenceReader(pool, scope);
    const asked = [...userIds, UserId.parse('stranger'), ...userIds.slice(0, 9), UserId.parse('stranger')];
    const alone = await Promise.all(asked.map(read));
    expect(await queryPresence(pool, scope, asked, true)).toEqual(alone);
    const summaries = alone.map(summaryOf);
    expect(await queryPresence(pool, scope, asked, false)).toEqual(summaries);
    expect(new Set(alone.map(({ status }) => status)).size).toBe(2);
  });

  test.each([1, 7, 59, 60, 1_000])('pages of %i hold each user once, as he is answered alone', async (limit) => {
    const read = createPresenceReader(pool, scope);
    const { rows } = await pool.query<{ user_id: UserId }>('select user_id from users order by user_id');
    const all = await Promise.all(rows.map(({ user_id: userId }) => read(userId)));
    for (const status of [null, 'online', 'offline'] as const) {
      const those = all.filter((one) => status === null || one.status === status);
      expect(those.length).toBeGreaterThan(2);
      expect((await readAll(pool, { status, withSessions: true }, limit)).users).toEqual(those);
      expect((await readAll(pool, { status, withSessions: false }, limit)).users).toEqual(those.map(summaryOf));
    }
  });

  test('the counts are those of the sessions', async () => {
    const { users } = await readAll(pool, { status: null, withSessions: true }, 1_000);
    const sessions = users.flatMap((user) => user.sessions ?? []);
    const { rows } = await pool.query<{ position: number }>('select position from log_head');
    expect(await readCounts(pool, scope)).toEqual({
      online: users.filter(({ status }) => status === 'online').length,
      lost: sessions.filter(({ status }) => status === 'lost').length,
      sessions: sessions.length,
      users: users.length,
      asOfMs: users[0]?.asOfMs,
      isStale: false,
      position: rows[0]?.position,
    });
    expect(sessions.filter(({ status }) => status === 'lost').length).toBeGreaterThan(0);
  });

  test('the counts are stale while the link is down, and while a session was not heard since a gap', async () => {
    const stale = async (change: string) => {
      await pool.query(`update links set ${change}`);
      return (await readCounts(pool, scope)).isStale;
    };
    expect(await stale('connected_since = null')).toBe(true);
    expect(await stale('connected_since = now()')).toBe(false);
    expect(await stale('gap_at = now()')).toBe(true);
    expect(await stale(`gap_at = '2000-01-01'`)).toBe(false);
  });

  test('rows say themselves who is online; of those that an older version wrote last the sessions do', async () => {
    const read = createPresenceReader(pool, scope);
    const all = (await Promise.all(userIds.map(read))).map(summaryOf);
    const { pool: listening, asked } = overhear(pool);
    const rowsOfQuery = async () => {
      expect(await queryPresence(listening, scope, userIds, false)).toEqual(all);
      const { text = '', values = [] } = asked.at(-1) ?? {};
      return rowsRead(pool, text, values);
    };
    // One of them all is the row of the link.
    const { rows } = await pool.query<{ count: number }>('select count(*) from users');
    expect(await rowsOfQuery()).toBe((rows[0]?.count ?? 0) + 1);
    for (const said of ['null', 'live_revision - sign(live_revision)', '-live_revision + sign(live_revision)']) {
      await pool.query(`update users set live_revision = ${said}`);
      expect(await rowsOfQuery(), said).toBeGreaterThan((rows[0]?.count ?? 0) + 1);
      for (const status of ['online', 'offline'] as const) {
        const { users } = await readAll(pool, { status, withSessions: false }, 7);
        expect(new Set(users), said).toEqual(new Set(all.filter((one) => one.status === status && one.sequence > 0)));
      }
      await pool.query(`update users u set live_revision = revision * case
        when exists (select from sessions s where s.user_id = u.user_id and s.ended_at is null) then 1 else -1 end`);
    }
  });
});

type Copied = { sequence: number; isOnline: boolean; readonly sessions: Set<string> };

test('pages, and then all events after the position of the first up to the head of the last, are a true copy', async () => {
  await using database = await open();
  const { willow: pool } = database;
  const chance = chanceOf('a copy by pages');
  const userIds = Array.from({ length: 40 }, (_, n) => UserId.parse(`user-${n}`));
  let nowMs = startMs;
  const write = async () => {
    nowMs += chance.pick([1, 20, 60]);
    await live(
      pool,
      Array.from({ length: 6 }, () => anySignal(chance, chance.pick(userIds))),
      nowMs,
    );
  };
  const met = { events: 0, pages: 0 };
  for (let round = 0; round < 12; round += 1) {
    for (let batch = 0; batch < 8; batch += 1) await write();
    const status = round % 2 === 0 ? null : 'online';
    const { users, heads } = await readAll(pool, { status, withSessions: true }, 1 + chance.whole(9), write);
    const copy = new Map<string, Copied>();
    for (const { userId, sequence, status: shown, sessions } of users) {
      const ids = new Set<string>(sessions?.map(({ sessionId }) => sessionId));
      copy.set(userId, { sequence, isOnline: shown === 'online', sessions: ids });
    }
    const [position = 0] = heads;
    const { events } = await readLog(pool, position, heads.at(-1) ?? 0);
    for (const event of events) apply(copy, event);
    const truth = new Map<string, Copied>();
    for (const event of (await readLog(pool, 0, heads.at(-1) ?? 0)).events) apply(truth, event);
    for (const [userId, then] of truth) {
      // Who was offline all the time is in no page of those who are online.
      if (status === 'online' && !then.isOnline && !copy.has(userId)) continue;
      expect(copy.get(userId), `${userId} in round ${round}`).toEqual(then);
    }
    met.events += events.length;
    met.pages += heads.length;
  }
  expect(met.events).toBeGreaterThan(met.pages);
});

/** What the rule for followers says: later events win, whatever the pages held already. */
function apply(
  copy: Map<string, Copied>,
  { userId, type, sessionId, sequence }: { userId: string; type: string; sessionId: string; sequence: number },
): void {
  const user = copy.get(userId) ?? { sequence: 0, isOnline: false, sessions: new Set() };
  copy.set(userId, user);
  user.sequence = sequence;
  if (type === 'session.started') user.sessions.add(sessionId);
  if (type === 'session.ended') user.sessions.delete(sessionId);
  if (type === 'user.online') user.isOnline = true;
  if (type === 'user.offline') user.isOnline = false;
}

test('no page looks at more than it must, wherever those are whom it is asked for', async () => {
  await using database = await open();
  const { willow: pool } = database;
  const online = 2 * usersWalkedMax + 100;
  const each = `from generate_series(1, ${online + 3_000}) n`;
  const id = `'user-' || to_char(n, 'FM000000')`;
  await pool.query(`insert into users (user_id, revision, sequence) select ${id}, 1, 2 ${each}`);
  await pool.query(`insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at)
    select ${id}, s, 'online', 1, now(), now() ${each}, unnest(array['phone', 'tablet']) s where n <= ${online}`);
  await pool.query(`insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, ended_at, reason)
    select ${id}, 'phone', 'ended', 1, now(), now(), now(), 'will' ${each} where n > ${online}`);
  const { pool: listening, asked } = overhear(pool);

  const offline = await readAll(listening, { status: 'offline', withSessions: false }, 1_000);
  expect(offline.users).toHaveLength(3_000);
  // Two pages without anybody, and then those of whom there are some.
  expect(offline.heads.length).toBeLessThan(8);
  for (const status of [null, 'online'] as const) {
    await listPresence(listening, scope, { status, withSessions: true }, { limit: 1_000, after: null });
    await listPresence(
      listening,
      scope,
      { status, withSessions: false },
      { limit: 1_000, after: UserId.parse('user-009000') },
    );
  }
  for (const { text, values } of asked)
    expect(await rowsRead(pool, text, values), text).toBeLessThan(5 * usersWalkedMax);
  for (const { text, values } of asked.slice(-4)) {
    expect(await rowsRead(pool, text, values), text).toBeLessThan(9_000);
  }
});

test('of users with very many sessions no answer has, and no statement reads, more than a bounded number', async () => {
  await using database = await open();
  const { willow: pool } = database;
  const [users, each] = [25, 1_000];
  await pool.query(`insert into users (user_id, revision, sequence)
    select 'crowd-' || to_char(n, 'FM00'), 1, 2 from generate_series(1, ${users}) n`);
  await pool.query(`insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at)
    select 'crowd-' || to_char(n, 'FM00'), s::text, 'online', 1, now(), now() from generate_series(1, ${users}) n, generate_series(1, ${each}) s`);
  await pool.query('analyze');
  const userIds = Array.from({ length: users }, (_, n) => UserId.parse(`crowd-${String(n + 1).padStart(2, '0')}`));
  const { pool: listening, asked } = overhear(pool);
  for (const status of [null, 'online'] as const) {
    const { users: found, heads } = await readAll(listening, { status, withSessions: true }, 1_000);
    expect(found.map(({ userId }) => userId)).toEqual(userIds);
    expect(found.every(({ sessions }) => sessions?.length === each)).toBe(true);
    expect(heads.length).toBeGreaterThan(2);
  }
  const [some, one] = [userIds.slice(0, 10), userIds[0] ?? UserId.parse('none')];
  expect(await queryPresence(listening, scope, some, true)).toHaveLength(10);
  expect(
    await queryPresence(
      listening,
      scope,
      Array.from({ length: 10 }, () => one),
      true,
    ),
  ).toHaveLength(10);
  const tooMany = { kind: 'too-many-sessions', sessionsMax: sessionsAtOnceMax };
  expect(await queryPresence(listening, scope, userIds.slice(0, 11), true)).toEqual(tooMany);
  expect(await queryPresence(listening, scope, userIds, true)).toEqual(tooMany);
  expect(
    await queryPresence(
      listening,
      scope,
      Array.from({ length: 1_000 }, () => one),
      true,
    ),
  ).toEqual(tooMany);
  for (const { text, values } of asked) {
    expect(await rowsRead(pool, text, values), text).toBeLessThan(sessionsAtOnceMax + 3_000);
  }
});
