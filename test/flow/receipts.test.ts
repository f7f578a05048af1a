import { afterAll, beforeAll, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { UserId } from '../../src/core/ids.ts';
import { commit, type Entry } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { acquireLease, renewLease } from '../../src/store/links.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };
const leaseMs = 600_000;

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

async function hold(clientId: string) {
  const lease = await acquireLease(pool, { clientId, sharedGroup: null, holder: 'test', leaseMs });
  if (lease === null) throw new Error('the lease is held');
  return lease;
}

/** A bare will under one packet id. `isAgain`: marked as delivered before. */
function will(isAgain: boolean, words = 'the same words'): Entry {
  const signal = {
    kind: 'will',
    userId: UserId.parse('alice'),
    sessionId: null,
    epoch: null,
    clientId: null,
    device: null,
    isRedelivery: false,
    ticket: null,
  } as const;
  const receipt = { packetId: 7, digest: Buffer.from(words) };
  return { signal, nowMs: Date.now(), lapseUntilMs: null, receipt, mayBeCommitted: isAgain };
}

async function hearAll(lease: { readonly clientId: string; readonly token: number }, entries: readonly Entry[]) {
  const fence = { ...lease, heardAtMs: Date.now };
  const { outcomes } = await commit(pool, entries, (user, heard, moment) => decide(user, heard, moment, rules), fence);
  return outcomes;
}

async function hear(lease: { readonly clientId: string; readonly token: number }, isAgain: boolean) {
  const [outcome] = await hearAll(lease, [will(isAgain)]);
  return outcome;
}

test('I4: a receipt tells a redelivery, until the broker is known to have read the PUBACK: later the same words are another message', async () => {
  const lease = await hold('willow');
  const link = { leaseMs, connectedSinceMs: Date.now(), heardAtMs: Date.now(), isInDoubt: false };
  expect(await hear(lease, false)).toBe('applied');
  expect(await hear(lease, true)).toBe('repeat');
  // Caught up within the minute that a process may be held up between a commit and its PUBACK: that says nothing yet.
  await renewLease(pool, lease, { ...link, caughtUpAtMs: Date.now() });
  expect(await hear(lease, true)).toBe('repeat');
  await renewLease(pool, lease, { ...link, caughtUpAtMs: Date.now() + 120_000 });
  expect(await hear(lease, true)).toBe('applied');
  // A link that is down forgets what it knew of the present, not what the broker has read.
  await renewLease(pool, lease, { ...link, connectedSinceMs: null, caughtUpAtMs: null });
  expect(await hear(lease, true)).toBe('applied');
});

test('I4: a receipt speaks for the words that it was given for, and not for others under the same packet id', async () => {
  const lease = await hold('another');
  expect(await hearAll(lease, [will(false)])).toEqual(['applied']);
  expect(await hearAll(lease, [will(true), will(true, 'other words')])).toEqual(['repeat', 'applied']);
});
