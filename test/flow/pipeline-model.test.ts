// Users who talk and are kicked at random, a broker that repeats itself, hangs up and has windows of all sizes, a database that fails, a
// process that is stopped, a lease that is stolen: whatever runs at once must be as if one had come after the other.

import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SessionId, UserId } from '../../src/core/ids.ts';
import { commit } from '../../src/store/commit.ts';
import { disorder } from '../support/commit-order.ts';
import { devicesIn, type Interference, isWrite, type Strike } from '../support/commit-witness.ts';
import { openPipeline, type Pipeline } from '../support/pipeline.ts';
import type { Outgoing } from '../support/scripted-broker.ts';
import { type Chance, chancesOf, stormRounds } from '../support/storm.ts';

/** How long a round lasts, before what it said is settled. */
const roundMs = 1_500;
const unsettledMax = 300;
const rounds = stormRounds(6);

type Round = {
  readonly chance: Chance;
  readonly users: readonly string[];
  /** Of the statements. */
  readonly faults: number;
  readonly slowMs: number;
  /** Of the steps: what happens to the link, the process and its lease. */
  readonly accidents: number;
  readonly kicks: number;
  readonly stepMs: number;
  readonly burst: number;
};

function inventRound(chance: Chance): Round {
  const users = chance.pick([1, 2, 5, 12]);
  return {
    chance,
    users: Array.from({ length: users }, (_, index) => `u${index}`),
    faults: chance.pick([0, 0, 0.02, 0.08]),
    slowMs: chance.pick([0, 2, 8, 25]),
    accidents: chance.pick([0, 0, 0.003, 0.01]),
    kicks: chance.pick([0, 0.1, 0.4]),
    stepMs: chance.pick([1, 4, 15]),
    burst: chance.pick([2, 10, 60]),
  };
}

function inventSettings(chance: Chance): Readonly<Record<string, string>> {
  return {
    GRACE_MS: String(chance.pick([0, 30, 100])),
    REPEAT_WINDOW_MS: String(chance.pick([0, 50, 10_000])),
    TAKEOVER_WINDOW_MS: String(chance.pick([0, 50, 1_000])),
    LEASE_MS: String(chance.pick([0, 60, 300])),
  };
}

/** With and without session, with and without epoch, now and then nonsense, or what the database is told to refuse. */
function say({ chance, users }: Round, n: number): Outgoing {
  if (chance.isIn(0.01)) return { n, topic: '/logout/a/b/c', payload: `nonsense ${n}` };
  const kind = chance.pick(['login', 'login', 'login', 'login', 'will', 'will', 'will', 'logout']);
  const sessionId = chance.pick([null, 'default', 's0', 's1', 's2', 's3', 's4']);
  const epoch = chance.isIn(0.5) ? null : Math.max(0, Math.floor(n / 12) + chance.pick([-2, -1, 0, 0, 0, 1, 2]));
  const payload = {
    userId: chance.pick(users),
    ...(sessionId !== null && { sessionId }),
    ...(epoch !== null && { epoch }),
    ...(kind === 'logout' && { reason: 'logout' }),
    device: { n, ...(chance.isIn(0.004) && { poison: true }) },
  };
  return { n, topic: kind === 'login' ? '/login' : '/logout', payload: JSON.stringify(payload) };
}

/** Slow statements and failing ones; `calm` ends all but what belongs to the data. */
function interfere({ chance, faults, slowMs }: Round): Interference & { readonly calm: () => void } {
  let isCalm = false;
  let conflictsLeft = 0;
  const strikeWrite = (): Strike | null => {
    if (conflictsLeft > 0) {
      conflictsLeft -= 1;
      return 'conflict';
    }
    if (!chance.isIn(faults)) return null;
    const strike = chance.pick(['conflict', 'away', 'unknown', 'many conflicts'] as const);
    if (strike !== 'many conflicts') return strike;
    // More than one commit bears, now and then.
    conflictsLeft = 3 + chance.whole(14);
    return 'conflict';
  };
  return {
    calm: () => {
      isCalm = true;
    },
    before: async (statement) => {
      const isSlow = isWrite(statement) || (isRead(statement) && chance.isIn(0.3));
      if (isSlow) await delay(chance.whole(slowMs * (chance.isIn(0.3) ? 2 : 1) + 1));
    },
    strike: (statement, values) => {
      if (isWrite(statement) && devicesIn(values).some((device) => device.includes('poison'))) return 'refuse';
      if (isCalm) return null;
      if (isWrite(statement)) return strikeWrite();
      return (isRead(statement) || statement === 'quarantine') && chance.isIn(faults) ? 'away' : null;
    },
  };
}

function isRead(statement: string): boolean {
  return statement === 'load-users' || statement === 'find-receipts';
}

async function kick({ chance, users }: Round, { witness, watched }: Pipeline): Promise<void> {
  const named = chance.pick([null, null, 's0', 's1', 'default']);
  const sessionId = named === null ? null : SessionId.parse(named);
  const signal = { kind: 'kick', userId: UserId.parse(chance.pick(users)), sessionId } as const;
  const entry = { signal, nowMs: Date.now(), lapseUntilMs: null, receipt: null, mayBeCommitted: false };
  // One that a strike has met is none.
  await commit(witness.pool, [entry], watched, null).catch(() => undefined);
}

async function meetAccident({ chance }: Round, { broker, pool, restart }: Pipeline): Promise<void> {
  const accident = chance.pick(['cut', 'restart', 'thief'] as const);
  if (accident === 'cut') broker.cut();
  else if (accident === 'restart') await restart();
  else
    await pool.query(
      `update links set token = token + 1, holder = 'thief', lease_until = clock_timestamp() + interval '100 ms'`,
    );
}

/** Returns the numbers of the messages that mean something. */
async function talk(round: Round, willow: Pipeline): Promise<readonly number[]> {
  const { chance } = round;
  const { broker } = willow;
  const meant: number[] = [];
  const kicks: Promise<void>[] = [];
  const endMs = performance.now() + roundMs;
  for (let n = 0; performance.now() < endMs; ) {
    await delay(chance.whole(round.stepMs));
    if (broker.unsettled() > unsettledMax) continue;
    const messages = Array.from({ length: 1 + chance.whole(round.burst) }, (_, index) => say(round, n + index));
    n += messages.length;
    meant.push(...messages.flatMap((one) => (one.payload.startsWith('nonsense') ? [] : [one.n])));
    broker.publish(messages);
    if (chance.isIn(round.kicks)) kicks.push(kick(round, willow));
    if (chance.isIn(round.accidents)) await meetAccident(round, willow);
    if (chance.isIn(0.2)) broker.repeat(chance.whole);
  }
  await Promise.all(kicks);
  return meant;
}

test('I1, I4, I8, I9: batches that are decided ahead are as if each had been decided after the one before', {
  timeout: 60_000 * rounds,
}, async ({ annotate }) => {
  let attempts = 0;
  let messages = 0;
  for (const { seed, chance } of chancesOf('two batches at once', rounds)) {
    const round = inventRound(chance);
    const { calm, ...interference } = interfere(round);
    const broker = { window: chance.pick([3, 20, 100, 1_000]), packetIdsMax: 2_000 };
    await using willow = await openPipeline({ settings: inventSettings(chance), broker, ...interference });
    const meant = await talk(round, willow);
    calm();
    await willow.settled();
    await willow.stop();
    const problems = await disorder(willow.witness, willow.pool, willow.decide, meant);
    expect([...willow.broker.violations, ...problems], `WILLOW_STORM_SEED=${seed}`).toEqual([]);
    attempts += willow.witness.attempts.length;
    messages += meant.length;
  }
  await annotate(`${rounds} rounds: ${messages} messages in ${attempts} attempts`);
});
