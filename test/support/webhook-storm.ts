// Webhooks under load: users who come and go by the commit path, receivers that hold their answers and notice when an event overtakes the
// one before it, and what must be true in the end, whatever was broken in between.

import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { expect } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import type { WireEvent } from '../../src/core/wire-event.ts';
import { commit, type Entry } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { type Answer, type Delivery, openReceiver, type Receiver } from './receiver.ts';
import { until } from './until.ts';
import { allowLoopback } from './webhooks.ts';

/** A Willow that sends, and hears no broker. */
export const sending = { ROLES: 'webhooks,api', ...allowLoopback };

const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };
const awayMs = 100;

export type Visits = AsyncDisposable & {
  /** Each of these users comes: two events; resolves when that is committed. Whoever is there goes first: two more. */
  readonly visit: (userIds: readonly string[]) => Promise<void>;
};

/** While the database is away, a visit waits for it. */
export function openVisits(url: string): Visits {
  const pool = openPool(url, { connectionsMax: 2, statementMsMax: 10_000, onError: () => undefined });
  const epochs = new Map<string, number>();
  const write = async (entries: readonly Entry[]): Promise<void> => {
    // What was committed without our hearing so is, said again, a repeat: the epochs are the same.
    while (!pool.ended) {
      try {
        await commit(pool, entries, (user, signal, moment) => decide(user, signal, moment, rules), null);
        return;
      } catch {
        await delay(awayMs);
      }
    }
  };
  return {
    visit: async (userIds) => {
      const entries = userIds.flatMap((userId) => {
        const epoch = (epochs.get(userId) ?? 0) + 1;
        epochs.set(userId, epoch);
        const login = entryOf('login', userId, epoch);
        return epoch === 1 ? [login] : [entryOf('will', userId, epoch - 1), login];
      });
      await write(entries);
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

function entryOf(kind: 'login' | 'will', user: string, epoch: number): Entry {
  const identity = { userId: UserId.parse(user), sessionId: SessionId.parse('phone'), epoch: Epoch.parse(epoch) };
  const signal = { kind, ...identity, clientId: null, device: { os: 'ios' }, isRedelivery: false, ticket: null };
  const nowMs = Date.now();
  return { signal, nowMs, lapseUntilMs: nowMs, receipt: null, mayBeCommitted: false };
}

export type Load = AsyncDisposable & {
  /** No more begins; resolves when all that was begun is committed. */
  readonly end: () => Promise<void>;
};

export const loadUserIds = Array.from({ length: 40 }, (_, index) => `user-${index}`);
/** Some 300 events a second: what piles up while nobody sends is caught up with in a moment. */
const gust = { users: 5, pauseMs: 60 };

/** Users come and go without an end. */
export function startLoad(url: string): Load {
  const visits = openVisits(url);
  let isOver = false;
  const blow = async () => {
    for (let first = 0; !isOver; first = (first + gust.users) % loadUserIds.length) {
      await visits.visit(loadUserIds.slice(first, first + gust.users));
      await delay(gust.pauseMs);
    }
  };
  const blowing = blow();
  const end = async () => {
    isOver = true;
    await blowing;
  };
  return {
    end,
    [Symbol.asyncDispose]: async () => {
      isOver = true;
      await visits[Symbol.asyncDispose]();
      await blowing;
    },
  };
}

export type Gate = {
  /** Deliveries that have arrived and are not answered. */
  readonly held: readonly Delivery[];
  /** They are taken, and all that come from here on. */
  readonly release: () => void;
};

export type WatchedReceiver = Receiver & {
  /** Deliveries that held an event of a user while an earlier one of the same user was not done. There must be none. */
  readonly overtakings: readonly string[];
  /** From here on deliveries are held, after as many as may pass, or those that are wanted. */
  readonly close: (isHeld?: (delivery: Delivery) => boolean) => Gate;
};

export async function openWatchedReceiver(): Promise<WatchedReceiver> {
  const receiver = await openReceiver();
  const underWay = new Set<Delivery>();
  const overtakings: string[] = [];
  let answer: Answer = () => 204;
  receiver.answer(async (delivery, response) => {
    for (const earlier of underWay) if (overtakes(delivery, earlier)) overtakings.push(`${delivery.id} ${earlier.id}`);
    underWay.add(delivery);
    response.on('close', () => underWay.delete(delivery));
    const status = await answer(delivery, response);
    underWay.delete(delivery);
    return status;
  });
  return {
    ...receiver,
    overtakings,
    answer: (next) => {
      answer = next;
    },
    close: (isHeld = () => true) => {
      const held: Delivery[] = [];
      const opened = Promise.withResolvers<number>();
      answer = async (delivery, response) => {
        if (!isHeld(delivery)) return 204;
        held.push(delivery);
        // Whoever sent it may be gone by then.
        return Promise.race([opened.promise, once(response, 'close').then(() => undefined)]);
      };
      const release = () => {
        answer = () => 204;
        opened.resolve(204);
      };
      return { held, release };
    },
  };
}

/** The next event was sent before this one was done; the same again is a repeat. */
function overtakes({ events }: Delivery, { events: earlier }: Delivery): boolean {
  return events.some(({ userId, sequence }) =>
    earlier.some((before) => before.userId === userId && before.sequence < sequence),
  );
}

/** What a backend has that drops deliveries whose webhook-id it knows. */
export function withoutRepeatedIds(deliveries: readonly Delivery[]): readonly WireEvent[] {
  const seen = new Set<string>();
  return deliveries.flatMap(({ id, events }) => {
    if (seen.has(id)) return [];
    seen.add(id);
    return events;
  });
}

/** The receiver's copy is the log of the database: every event once, and each user's in their order, without a gap. */
export function expectTrueCopy(copy: readonly WireEvent[], log: readonly WireEvent[]): void {
  for (const [userId, events] of Map.groupBy(copy, (event) => event.userId)) {
    const sequences = events.map(({ sequence }) => sequence);
    expect(sequences, `the sequences of ${userId}`).toEqual(sequences.map((_, index) => index + 1));
  }
  expect(copy.toSorted((a, b) => a.position - b.position)).toEqual(log);
}

/** The log as it must read on the wire. */
export async function wireLog(pool: pg.Pool): Promise<readonly WireEvent[]> {
  const { rows } = await pool.query<{ event: WireEvent }>(
    `select json_strip_nulls(json_build_object('position', position, 'sequence', sequence, 'type', type, 'userId', user_id,
        'sessionId', session_id, 'epoch', epoch, 'reason', reason, 'device', device,
        'at', to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))) as event
     from events order by position`,
  );
  return rows.map(({ event }) => event);
}

/** Once the receiver has taken every event that the log has now. */
export async function caughtUp(receiver: Receiver, pool: pg.Pool): Promise<readonly WireEvent[]> {
  const log = await wireLog(pool);
  await until(`${log.length} events taken`, () => {
    receiver.deliveries();
    return new Set(receiver.taken().map(({ position }) => position)).size >= log.length;
  });
  return log;
}

/** What the lanes of a process that is dead come to by themselves, seconds later. */
export async function expireLanes(pool: pg.Pool): Promise<void> {
  await pool.query('update lanes set lease_until = clock_timestamp() where holder is not null');
  await pool.query('delete from workers');
}

/** Every process that sends has looked at what is to be done since. */
export async function renewed(pool: pg.Pool): Promise<void> {
  const times = async () => {
    const { rows } = await pool.query<{ holder: string; at: Date }>('select holder, seen_at as at from workers');
    return new Map(rows.map(({ holder, at }) => [holder, at.getTime()]));
  };
  // A look that is under way may have begun before.
  for (let looks = 0; looks < 2; looks += 1) {
    const before = await times();
    await pool.query(`select pg_notify('willow_endpoints', '')`);
    await until('a renewal by each process', async () => {
      const now = await times();
      return [...before].every(([holder, at]) => !now.has(holder) || now.get(holder) !== at);
    });
  }
}
