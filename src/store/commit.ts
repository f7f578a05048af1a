// The batch commit: users read, every signal decided in order, everything written and committed at once, or not at all (I8).
// Two statements whatever the size of the batch. When somebody else changed one of the users in between, all of it is done again.

import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { AuditEntry } from '../core/audit.ts';
import type { Decision, Moment, Outcome } from '../core/decide.ts';
import type { UserId } from '../core/ids.ts';
import type { Event, Session, UserState } from '../core/session.ts';
import type { Signal } from '../core/signal.ts';
import { backOffMs } from '../runtime/loop.ts';
import { ConflictError } from './database.ts';
import type { Once } from './idempotency.ts';
import { type LoadedUser, loadUsers } from './load.ts';
import { findReceipts, type Heard, type Receipt, receiptsOf, redeliveredAmong } from './receipts.ts';
import { type Changes, type Fence, writeChanges } from './write.ts';

export type Entry = Heard & {
  readonly signal: Signal;
  /** When it was heard: the time that it is decided at. */
  readonly nowMs: number;
  readonly lapseUntilMs: number | null;
  /** Written with what the signal changes, and not at all when it changes nothing. */
  readonly audit?: AuditEntry;
  /** Its one entry is decided and written once, under an Idempotency-Key that was claimed before. */
  readonly once?: Once;
};

export type Decide = (user: UserState, signal: Signal, moment: Moment) => Decision;

/** What a batch is about to write. */
export type Plan = {
  /** The users that it changes, as they will be, over the revision that it has read. */
  readonly users: ReadonlyMap<UserId, LoadedUser & { readonly over: number }>;
  readonly receipts: readonly Receipt[];
};

/** The batch before, which is on its way. Nothing is written behind it before its end is known. */
export type Ahead = Plan & { readonly end: Promise<AheadEnd> };

/** Committed just as planned; committed after another decision; or given up, and then so is what was decided behind it. */
export type AheadEnd = 'as-planned' | 'anew' | 'given-up';

/** For batches that are committed one after the other, and decided while the one before is being written. */
export type Order = {
  readonly ahead: Ahead;
  /** `isCommitted` never rejects; false when the plan came to nothing, and another attempt may follow. */
  readonly onDecided: (plan: Plan, isCommitted: Promise<boolean>) => void;
};

export type Committed = {
  /** One for each entry, in their order. */
  readonly outcomes: readonly Outcome[];
  readonly events: readonly Event[];
  /** How often somebody else was first, and all of it was decided again. */
  readonly conflicts: number;
};

/** The batch before was given up: nothing of this one is written, and nothing may be before the broker has delivered both again. */
export class GivenUpError extends Error {
  override readonly name = 'GivenUpError';
}

/** Under contention a batch of 500 users meets a kick or a deadline now and then, not eight times in a row. */
const attemptsMax = 8;
const conflictBackOff = { firstMs: 1, lastMs: 50 };

/**
 * Throws ConflictError, FencedError, DoneBeforeError, DataRefusedError, GivenUpError, or what the connection threw; then nothing is known to
 * be written.
 */
export async function commit(
  pool: pg.Pool,
  entries: readonly Entry[],
  decide: Decide,
  fence: Fence | null,
  order: Order | null = null,
): Promise<Committed> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // What was ahead is committed by the second attempt, one way or the other.
      const committed = await attemptCommit(pool, entries, decide, fence, attempt === 1 ? order : null);
      return { ...committed, conflicts: attempt - 1 };
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt === attemptsMax) throw error;
      await delay(backOffMs(attempt, conflictBackOff));
    }
  }
}

async function attemptCommit(
  pool: pg.Pool,
  entries: readonly Entry[],
  decide: Decide,
  fence: Fence | null,
  order: Order | null,
): Promise<Omit<Committed, 'conflicts'>> {
  const receipts = fence === null ? [] : await findReceipts(pool, entries, fence.clientId);
  const loaded = await loadUsers(
    pool,
    entries.map(({ signal }) => signal),
  );
  if (order !== null) overlay(loaded, order.ahead.users);
  const redelivered = redeliveredAmong(entries, [...receipts, ...(order?.ahead.receipts ?? [])]);
  const users = new Map<UserId, UserState>();
  for (const [userId, { user }] of loaded) users.set(userId, user);
  const outcomes: Outcome[] = [];
  const events: Event[] = [];
  const audit: AuditEntry[] = [];
  for (const entry of entries) {
    const before = users.get(entry.signal.userId);
    if (before === undefined) continue;
    const signal = redelivered.has(entry) ? asRedelivery(entry.signal) : entry.signal;
    const decision = decide(before, signal, entry);
    users.set(entry.signal.userId, decision.user);
    outcomes.push(decision.outcome);
    events.push(...decision.events);
    if (entry.audit !== undefined && decision.user !== before) audit.push(entry.audit);
  }
  const changes = {
    ...changesOf(loaded, users),
    events,
    receipts: receiptsOf(entries),
    audit,
    once: entries[0]?.once ?? null,
  };
  const writing = writeBehind(order?.ahead ?? null, pool, changes, fence);
  order?.onDecided(
    planOf(changes),
    writing.then(
      () => true,
      () => false,
    ),
  );
  await writing;
  return { outcomes, events };
}

function asRedelivery(signal: Signal): Signal {
  return signal.kind === 'login' || signal.kind === 'will' || signal.kind === 'logout'
    ? { ...signal, isRedelivery: true }
    : signal;
}

async function writeBehind(ahead: Ahead | null, pool: pg.Pool, changes: Changes, fence: Fence | null): Promise<void> {
  const end = await ahead?.end;
  if (end === 'given-up') throw new GivenUpError('the batch before was given up');
  if (end === 'anew') throw new ConflictError('the batch before was decided anew');
  const isNothing = changes.users.length === 0 && changes.receipts.length === 0;
  if (!isNothing) await writeChanges(pool, changes, fence);
}

/**
 * Users as the batch ahead is about to leave them: those that were found as it has found them. Any other revision is that of its own write, or
 * of somebody's behind it, or the user was erased. It knows the sessions that its own signals name: those that only ours name have ended, and
 * are not changed by it.
 */
function overlay(loaded: Map<UserId, LoadedUser>, users: Plan['users']): void {
  for (const [userId, { revision, user: before }] of loaded) {
    const ahead = users.get(userId);
    if (ahead === undefined || ahead.over !== revision) continue;
    const sessions = new Map([...before.sessions, ...ahead.user.sessions]);
    loaded.set(userId, { revision: ahead.revision, user: { ...ahead.user, sessions } });
  }
}

function planOf({ users, receipts }: Changes): Plan {
  const written = users.map(
    ({ revision, next, user }) => [user.userId, { over: revision, revision: next, user }] as const,
  );
  return { users: new Map(written), receipts };
}

/** Only what differs from what was read is written. */
function changesOf(
  loaded: ReadonlyMap<UserId, LoadedUser>,
  users: ReadonlyMap<UserId, UserState>,
): Pick<Changes, 'users' | 'sessions'> {
  const changedUsers: { revision: number; next: number; user: UserState }[] = [];
  const changedSessions: { userId: UserId; session: Session }[] = [];
  for (const [userId, { revision, user: before }] of loaded) {
    const user = users.get(userId);
    if (user === undefined || user === before) continue;
    changedUsers.push({ revision, next: revision === 0 ? firstRevision() : revision + 1, user });
    for (const [sessionId, session] of user.sessions) {
      if (session !== before.sessions.get(sessionId)) changedSessions.push({ userId, session });
    }
  }
  return { users: changedUsers, sessions: changedSessions };
}

/** Another one for each row: who read a user that was erased, and came again, takes the new one for no older state of his. */
function firstRevision(): number {
  return 1 + Math.floor(Math.random() * 2 ** 48);
}
