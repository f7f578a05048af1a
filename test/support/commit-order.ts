// Judges what a witness has seen: whether what the database holds is what the same signals give when they are decided one after the other, on
// the whole state, in the order of the revisions. So whatever runs at once must be as if it had not.

import type pg from 'pg';
import type { SessionId, UserId } from '../../src/core/ids.ts';
import { type Event, type Session, type UserState, unknownUser } from '../../src/core/session.ts';
import type { Decide } from '../../src/store/commit.ts';
import {
  type EventRow,
  eventColumns,
  eventOf,
  type SessionRow,
  sessionColumns,
  sessionOf,
  type UserRow,
  userColumns,
  userOf,
} from '../../src/store/rows.ts';
import { type Attempt, type CommitWitness, type Decided, isOver } from './commit-witness.ts';

/** Everything that is not as if one had come after the other; empty when all is well. `expected`: the messages that must have been decided. */
export async function disorder(
  witness: CommitWitness,
  pool: pg.Pool,
  decide: Decide,
  expected: readonly number[],
): Promise<readonly string[]> {
  const { users, events, unlike } = await readAll(pool);
  const decided = witness.attempts.flatMap((attempt) => attempt.decided.map(({ userId }) => userId));
  const problems = [...unacknowledgeable(witness), ...undecided(witness, expected)];
  problems.push(...unlike.map((userId) => `${userId}: the row says otherwise than the sessions whether one is live`));
  for (const userId of new Set([...users.keys(), ...decided])) {
    const replay = new Replay(userId, witness.attempts, decide);
    problems.push(...replay.problems, ...replay.idle());
    const kept = users.get(userId);
    if (kept?.revision !== replay.revision)
      problems.push(`${userId}: revision ${kept?.revision} is kept, and ${replay.revision} was written last`);
    const state = plain(kept?.user ?? unknownUser(userId));
    if (!isSame(state, plain(replay.state)))
      problems.push(`${userId}: kept ${show(state)}, alone ${show(plain(replay.state))}`);
    const log = events.get(userId) ?? [];
    if (!isSame(log, replay.events)) problems.push(`${userId}: log ${show(log)}, alone ${show(replay.events)}`);
  }
  return problems;
}

function unacknowledgeable({ acknowledged }: CommitWitness): readonly string[] {
  return acknowledged.flatMap(({ n, wasCommitted }) =>
    wasCommitted ? [] : [`I9: ${n} was acknowledged before its commit`],
  );
}

function undecided(witness: CommitWitness, expected: readonly number[]): readonly string[] {
  return expected.flatMap((n) => {
    const attempts = witness.of(n);
    const last = attempts.at(-1);
    if (last === undefined) return [`${n} was never decided`];
    if (isOver(last) || attempts.some(({ isWritten }) => isWritten)) return [];
    return [`${n} ended in attempt ${last.id}: ${last.fate}`];
  });
}

/** One user's signals, decided again in the order in which they were written. */
class Replay {
  readonly problems: string[] = [];
  readonly events: Event[] = [];
  state: UserState;
  /** The last that was written. */
  revision: number | undefined;
  readonly #userId: UserId;
  readonly #attempts: readonly Attempt[];
  readonly #decide: Decide;
  /** Before the first write, after it, after the second … */
  readonly #states: UserState[];
  /** Of each message, by which of the writes it was committed first. */
  readonly #placeOf = new Map<number, number>();
  readonly #firstWriteOf = new Map<number, Attempt>();

  constructor(userId: UserId, attempts: readonly Attempt[], decide: Decide) {
    this.#userId = userId;
    this.#attempts = attempts;
    this.#decide = decide;
    this.state = unknownUser(userId);
    this.#states = [this.state];
    const revisionOf = ({ revisions }: Attempt) => revisions?.get(userId) ?? 0;
    const writes = attempts.filter(({ isWritten, revisions }) => isWritten && revisions?.has(userId));
    for (const attempt of writes.toSorted((a, b) => revisionOf(a) - revisionOf(b))) {
      const revision = revisionOf(attempt);
      if (this.revision !== undefined && revision !== this.revision + 1)
        this.#tell(`revision ${revision} follows ${this.revision}`);
      this.revision = revision;
      for (const one of this.#of(attempt)) this.#follow(one, attempt);
      this.#states.push(this.state);
    }
  }

  /** What changed nothing must have changed nothing at its place: behind what was said before it, in front of what was said later. */
  idle(): readonly string[] {
    const before = this.problems.length;
    for (const attempt of this.#attempts) {
      const { id, isWritten, isRefused, revisions } = attempt;
      if (isRefused || revisions?.has(this.#userId) || (revisions !== null && !isWritten)) continue;
      for (const one of this.#of(attempt)) {
        const isOnly = this.#attempts.every((each) => each === attempt || !mayCount(each) || !holds(each, one.n));
        const isLast = this.#attempts.findLast((each) => holds(each, one.n)) === attempt;
        if (one.n === null || !isOnly || !isLast || this.#fitsAnywhere(one, one.n)) continue;
        this.#tell(`${one.n} in attempt ${id} changed nothing (${one.decision.outcome}), but would have at its place`);
      }
    }
    return this.problems.splice(before);
  }

  #of(attempt: Attempt): readonly Decided[] {
    return attempt.decided.filter(({ userId }) => userId === this.#userId);
  }

  #follow(one: Decided, attempt: Attempt): void {
    if (one.n !== null) this.#place(one, one.n, attempt);
    const { outcome, events, user } = this.#again(one, this.state);
    const isAlike = outcome === one.decision.outcome && isSame(events, one.decision.events);
    if (!isAlike) {
      const said = `${one.decision.outcome} ${show(one.decision.events)}`;
      this.#tell(`attempt ${attempt.id}: ${show(one.signal)} gave ${said}, and alone ${outcome} ${show(events)}`);
    }
    this.events.push(...events);
    this.state = user;
  }

  /** Whether it is a redelivery, and in its place. */
  #place({ signal }: Decided, n: number, attempt: Attempt): void {
    const isBehind = this.#attempts.some((each) => each.isWritten && each.id < attempt.id && holds(each, n));
    const isAgain = isBehind || this.#firstWriteOf.get(n) === attempt;
    const isMarked = 'isRedelivery' in signal && signal.isRedelivery;
    if ('epoch' in signal && signal.epoch === null && isAgain !== isMarked)
      this.#tell(`I4: ${n} in attempt ${attempt.id}: redelivered ${isAgain}, taken for that ${isMarked}`);
    const isKnown = this.#firstWriteOf.has(n);
    if (!isKnown) this.#firstWriteOf.set(n, attempt);
    // What changed nothing the first time leaves no trace, and counts when it is heard again.
    if (isKnown || this.#attempts.some((each) => each.id < attempt.id && mayCount(each) && holds(each, n))) return;
    const newest = Math.max(-1, ...this.#placeOf.keys());
    if (n < newest) this.#tell(`${n} in attempt ${attempt.id} is committed after ${newest}`);
    this.#placeOf.set(n, this.#states.length);
  }

  #fitsAnywhere(one: Decided, n: number): boolean {
    const places = [...this.#placeOf];
    const first = Math.max(0, ...places.flatMap(([other, place]) => (other <= n ? [place] : [])));
    const last = Math.min(this.#states.length, ...places.flatMap(([other, place]) => (other > n ? [place] : [])));
    return this.#states.slice(first, last).some((state) => {
      const { outcome, events } = this.#again(one, state);
      return outcome === one.decision.outcome && events.length === 0;
    });
  }

  #again(one: Decided, state: UserState) {
    return this.#decide(inOrderOf(one.before, state), one.signal, one.moment);
  }

  #tell(problem: string): void {
    this.problems.push(`${this.#userId}: ${problem}`);
  }
}

function holds({ numbers }: Attempt, n: number | null): boolean {
  return n !== null && numbers.has(n);
}

/** It was written; or refused, and is in quarantine until it is heard again; or it had nothing to write, and was taken for done. */
function mayCount({ isWritten, isRefused, revisions, decided }: Attempt): boolean {
  const isIdle = revisions === null && decided.every(({ before, decision }) => before === decision.user);
  return isWritten || isRefused || isIdle;
}

/** Nothing says in which order sessions are read; here as there, so that the ends of one signal come in the same order. */
function inOrderOf(before: UserState, state: UserState): UserState {
  const sessions = new Map<SessionId, Session>();
  for (const id of new Set([...before.sessions.keys(), ...state.sessions.keys()])) {
    const session = state.sessions.get(id);
    if (session !== undefined) sessions.set(id, session);
  }
  return { ...state, sessions };
}

async function readAll(pool: pg.Pool) {
  const users = new Map<UserId, { readonly revision: number; readonly user: UserState }>();
  const events = new Map<UserId, Event[]>();
  const { rows: sessions } = await pool.query<SessionRow & { user_id: UserId }>(
    `select s.user_id, ${sessionColumns} from sessions s`,
  );
  const ofUser = Map.groupBy(sessions, (row) => row.user_id);
  const { rows: userRows } = await pool.query<UserRow & { user_id: UserId }>(`select ${userColumns} from users u`);
  for (const row of userRows) {
    const own = (ofUser.get(row.user_id) ?? []).map((each) => sessionOf(each));
    const user = userOf(row, new Map(own.map((session) => [session.sessionId, session])));
    users.set(row.user_id, { revision: row.revision, user });
  }
  const { rows: eventRows } = await pool.query<EventRow>(`select ${eventColumns} from events e order by e.position`);
  for (const { position: _, ...event } of eventRows.map(eventOf))
    events.set(event.userId, [...(events.get(event.userId) ?? []), event]);
  const { rows: unlike } = await pool.query<{ user_id: UserId }>(`
    select u.user_id from users u where u.live_revision is distinct from u.revision * case
      when exists (select from sessions s where s.user_id = u.user_id and s.ended_at is null) then 1 else -1 end`);
  return { users, events, unlike: unlike.map(({ user_id: userId }) => userId) };
}

function plain(user: UserState) {
  return { ...user, sessions: Object.fromEntries(user.sessions) };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([key, inner]) => [key, sorted(inner)]));
}

function show(value: unknown): string {
  return JSON.stringify(sorted(value));
}

function isSame(a: unknown, b: unknown): boolean {
  return show(a) === show(b);
}
