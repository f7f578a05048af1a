// A user who is erased takes with him what was asked for him by key: who has begun it before does not take it for done.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { SessionId, UserId } from '../../src/core/ids.ts';
import { commit } from '../../src/store/commit.ts';
import { ConflictError, openPool } from '../../src/store/database.ts';
import { eraseUser } from '../../src/store/erase.ts';
import { claimOnce } from '../../src/store/idempotency.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };
const [userId, sessionId] = [UserId.parse('ada'), SessionId.parse('phone')];
const once = { caller: 'loopback', key: 'a-key' } as const;
const claim = { userId, sessionId, issuedAtSeconds: 1, digest: Buffer.alloc(32) };

let database: TestDatabase;
let pool: ReturnType<typeof openPool>;

beforeAll(async () => {
  database = await createDatabase();
  pool = openPool(database.url, { connectionsMax: 2, statementMsMax: 30_000, onError: () => undefined });
});

afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});

function write() {
  const entry = {
    signal: { kind: 'prepare', userId, sessionId, device: null, leaseMs: null, keyId: 'k' },
    nowMs: Date.now(),
    lapseUntilMs: null,
    receipt: null,
    mayBeCommitted: false,
    audit: { actor: 'loopback', action: 'session.prepared', target: `user:${userId}`, detail: {} },
    once,
  } as const;
  return commit(pool, [entry], (user, signal, moment) => decide(user, signal, moment, rules), null);
}

async function rowCounts() {
  const { rows } = await database.pool.query<Record<string, number>>(
    `select (select count(*)::int from sessions) as sessions, (select count(*)::int from events) as events,
      (select count(*)::int from audit where action = 'session.prepared') as audited`,
  );
  return rows[0];
}

test('a user who is erased between the claim and the write: nothing is written, and nobody is told that it was done', async () => {
  await claimOnce(pool, once, claim, null);
  await eraseUser(pool, userId, 'loopback');
  await expect(write()).rejects.toThrow(ConflictError);
  expect(await rowCounts()).toEqual({ sessions: 0, events: 0, audited: 0 });
});

test('asked for again, it is done', async () => {
  expect(await claimOnce(pool, once, claim, null)).toMatchObject({ isDone: false });
  await write();
  expect(await rowCounts()).toEqual({ sessions: 1, events: 2, audited: 1 });
});
