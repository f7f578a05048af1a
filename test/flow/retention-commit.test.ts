// Retention while others write, register and erase: nobody waits for it in a circle, and whoever decides on what it removes is right all the same.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { commit, type Decide, type Entry } from '../../src/store/commit.ts';
import { replayEndpoint } from '../../src/store/endpoints.ts';
import { eraseUser } from '../../src/store/erase.ts';
import { giveUpEvents, sweepGivenUp } from '../../src/store/retention.ts';
import { actor, make, openTables, type Tables } from '../support/endpoints.ts';
import { persistently } from '../support/persistently.ts';
import { Ledger, readLogRow } from '../support/retention.ts';
import { until } from '../support/until.ts';

const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };
const longAgoMs = Date.parse('2026-01-01T00:00:00Z');
const nowMs = Date.parse('2026-06-01T00:00:00Z');
const horizonMs = Date.parse('2026-05-01T00:00:00Z');

let tables: Tables;
beforeEach(async () => {
  tables = await openTables();
});
afterEach(() => tables[Symbol.asyncDispose]());

function say(kind: 'login' | 'logout', user: string, session: string, epoch: number, atMs: number): Entry {
  const identity = { userId: UserId.parse(user), sessionId: SessionId.parse(session), epoch: Epoch.parse(epoch) };
  const rest = { clientId: null, device: null, isRedelivery: false, ticket: null };
  const signal = { kind, ...identity, ...rest, ...(kind === 'logout' && { reason: 'logout' }) } as Entry['signal'];
  return { signal, nowMs: atMs, lapseUntilMs: null, receipt: null, mayBeCommitted: false };
}

const write = (entries: readonly Entry[], onDecide: () => void = () => undefined) => {
  const watched: Decide = (user, signal, moment) => {
    onDecide();
    return decide(user, signal, moment, rules);
  };
  return commit(tables.pool, entries, watched, null);
};

/** Forty sessions that have ended, each a minute after the one before, and one event that is young. */
async function live(user: string): Promise<void> {
  for (let n = 0; n < 40; n += 1) {
    const atMs = longAgoMs + n * 60_000;
    await write([say('login', user, `s${n}`, 5, atMs), say('logout', user, `s${n}`, 5, atMs + 1)]);
  }
  await write([say('login', user, 'newest', 1, nowMs)]);
}

async function retainAll(): Promise<void> {
  for (let isMore = true; isMore; ) {
    const given = await giveUpEvents(tables.pool, horizonMs);
    isMore = (await sweepGivenUp(tables.pool)).isMore || given.isMore;
  }
}

async function sessionOf(user: string, session: string) {
  const { rows } = await tables.pool.query<{ status: string; epoch: number }>(
    'select status::text, epoch from sessions where user_id = $1 and session_id = $2',
    [user, session],
  );
  return rows[0] ?? null;
}

/** Others have done this, and not committed it, until they are told to go on. */
async function hold(...statements: readonly string[]) {
  const client = await tables.database.pool.connect();
  await client.query('begin');
  for (const statement of statements) await client.query(statement);
  let isOver = false;
  return {
    async release() {
      await client.query('commit');
      client.release();
      isOver = true;
    },
    [Symbol.dispose]() {
      if (!isOver) client.release(true);
    },
  };
}

async function waiting(): Promise<void> {
  await until('a statement to wait', async () => {
    const { rows } = await tables.database.pool.query<{ count: number }>(
      `select count(*)::int from pg_stat_activity
       where datname = current_database() and application_name = 'willow' and wait_event_type = 'Lock'`,
    );
    return rows[0]?.count === 1;
  });
}

test('a birth that was decided on a session which goes meanwhile is written as if it had stayed', async () => {
  await live('returns');
  await giveUpEvents(tables.pool, horizonMs);
  using held = await hold('update log_head set position = position');
  let decisions = 0;
  const births = [say('login', 'returns', 's1', 6, nowMs + 1), say('login', 'returns', 's2', 4, nowMs + 1)];
  const writing = write(births, () => {
    decisions += 1;
  });
  await waiting();
  expect(await sweepGivenUp(tables.pool)).toMatchObject({ sessions: 8 });
  expect(await sessionOf('returns', 's1')).toBe(null);
  await held.release();
  const { outcomes } = await writing;
  expect(outcomes).toEqual(['applied', 'stale']);
  // Nothing was in the way: it was decided once.
  expect(decisions).toBe(2);
  expect(await sessionOf('returns', 's1')).toEqual({ status: 'online', epoch: 6 });
  expect(await sessionOf('returns', 's2')).toBe(null);
  expect(await sessionOf('returns', 's8')).toEqual({ status: 'ended', epoch: 5 });
});

test('a session that comes back while it is to go stays, and nobody waits', async () => {
  await live('taken-up');
  await giveUpEvents(tables.pool, horizonMs);
  const { tail } = await readLogRow(tables.pool);
  using held = await hold(
    `update sessions set status = 'online', ended_at = null, reason = null, epoch = 7 where user_id = 'taken-up' and session_id = 's3'`,
    `update events set at = at where user_id = 'taken-up' and sequence = 2`,
  );
  expect(await sweepGivenUp(tables.pool)).toEqual({ isMore: true, events: 0, sessions: 7 });
  await held.release();
  expect((await readLogRow(tables.pool)).tail).toBe(tail);
  await retainAll();
  expect(await sessionOf('taken-up', 's3')).toEqual({ status: 'online', epoch: 7 });
  expect(await readLogRow(tables.pool).then((row) => row.tail - row.trimmed)).toBe(0);
});

test('events that others hold are left for the next time, and the place waits for them', async () => {
  await live('held');
  await giveUpEvents(tables.pool, horizonMs);
  const { tail } = await readLogRow(tables.pool);
  using held = await hold(`select from events where user_id = 'held' and sequence = 2 for key share`);
  expect(await sweepGivenUp(tables.pool)).toMatchObject({ isMore: true, sessions: 8 });
  expect((await readLogRow(tables.pool)).tail).toBe(tail);
  await held.release();
  expect(await sweepGivenUp(tables.pool)).toEqual({ isMore: false, events: 1, sessions: 0 });
  expect(await readLogRow(tables.pool).then((row) => row.tail - row.trimmed)).toBe(0);
});

test('who is about to read is waited for, and then seen; who writes does not wait with it', async () => {
  const { trimmed } = await readLogRow(tables.pool);
  await live('read');
  using held = await hold(
    'select from log_head for key share',
    `insert into endpoints (id, url, events, lanes, max_batch, secret, created_at, updated_at)
     values ('whe_reader', 'https://example.com', null, 1, 1, '', now(), now())`,
    `insert into lanes (endpoint_id, generation, lane, "of", position) values ('whe_reader', 1, 0, 1, ${trimmed + 3})`,
  );
  const givingUp = giveUpEvents(tables.pool, horizonMs);
  await waiting();
  await write([say('login', 'somebody-else', 'phone', 1, nowMs)]);
  await held.release();
  await givingUp;
  expect((await readLogRow(tables.pool)).trimmed).toBe(trimmed);
  expect(await giveUpEvents(tables.pool, horizonMs)).toMatchObject({ heldBy: 'whe_reader' });
  expect((await readLogRow(tables.pool)).trimmed).toBe(trimmed + 3);
  // Disabled, it holds nothing back, once nobody sends for it any more.
  await sweepGivenUp(tables.pool);
  await tables.pool.query(
    `update endpoints set status = 'disabled', disabled_reason = 'paused' where id = 'whe_reader'`,
  );
  await tables.pool.query(`update lanes set lease_until = now() + interval '1 hour' where endpoint_id = 'whe_reader'`);
  expect(await giveUpEvents(tables.pool, horizonMs)).toMatchObject({ heldBy: 'whe_reader' });
  await tables.pool.query(`update lanes set lease_until = null where endpoint_id = 'whe_reader'`);
  expect(await giveUpEvents(tables.pool, horizonMs)).toMatchObject({ heldBy: null });
  expect((await readLogRow(tables.pool)).trimmed).toBeGreaterThan(trimmed + 3);
});

test('under load: writers, two who retain, one who erases, one who replays; none waits in a circle, and what is left is right', async () => {
  await using own = await openTables();
  const users = Array.from({ length: 8 }, (_, index) => `u${index}`);
  const { endpoint } = await make(own.pool, { lanes: 2 });
  let atMs = longAgoMs;
  let epoch = 0;
  let isWriting = true;
  const whileWriting = async (step: (n: number) => Promise<unknown>): Promise<number> => {
    let n = 0;
    for (; isWriting; n += 1) await persistently(() => step(n));
    return n;
  };
  const writing = Array.from({ length: 3 }, async (_, writer) => {
    for (let round = 0; round < 14; round += 1) {
      epoch += 1;
      atMs += 4 * 3_600_000;
      const entries = users.flatMap((user, index) => {
        const session = index % 2 === 0 ? `device-${writer}` : `login-${epoch}`;
        return [say('login', user, session, epoch, atMs), say('logout', user, session, epoch, atMs)];
      });
      await persistently(() =>
        commit(own.pool, entries, (user, signal, moment) => decide(user, signal, moment, rules), null),
      );
    }
  });
  const others = [
    ...[0, 1].map(() =>
      whileWriting(async () => {
        await giveUpEvents(own.pool, atMs - 86_400_000, 50);
        await sweepGivenUp(own.pool, 50);
      }),
    ),
    whileWriting((n) => eraseUser(own.pool, UserId.parse(users[n % 3] ?? ''), actor)),
    whileWriting(async () => {
      const { trimmed } = await readLogRow(own.pool);
      await replayEndpoint(own.pool, endpoint.id, trimmed, actor);
      await own.pool.query('update lanes set position = (select position from log_head)');
    }),
  ];
  await Promise.all(writing).finally(() => {
    isWriting = false;
  });
  for (const steps of await Promise.all(others)) expect(steps).toBeGreaterThan(10);
  const { trimmed } = await readLogRow(own.pool);
  expect(trimmed).toBeGreaterThan(0);
  for (let isMore = true; isMore; ) {
    const given = await giveUpEvents(own.pool, atMs - 86_400_000);
    isMore = (await sweepGivenUp(own.pool)).isMore || given.isMore;
  }
  expect(await new Ledger().leftBehind(own.pool)).toEqual([]);
  const { rows: holes } = await own.pool.query(
    `select user_id from users u where sequence <> (
       select count(*) from events e where e.user_id = u.user_id and e.position > $1) + coalesce((
       select max(sequence) from events e where e.user_id = u.user_id and e.position <= $1), 0)`,
    [(await readLogRow(own.pool)).trimmed],
  );
  expect(holes).toEqual([]);
  const deadlocks = await until('the server to have counted', async () => {
    const { rows } = await own.database.pool.query<{ deadlocks: number }>(
      'select deadlocks::int from pg_stat_database where datname = current_database() and xact_commit > 100',
    );
    return rows[0];
  });
  expect(deadlocks).toEqual({ deadlocks: 0 });
});
