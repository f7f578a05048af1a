// Stands between Willow and its database, in one process: writes down every attempt to commit (what was read, what was decided, whether it was
// written), holds up statements, and strikes at them. What it has seen is judged in commit-order.ts.

import { AsyncLocalStorage } from 'node:async_hooks';
import pg from 'pg';
import type { Decision, Moment } from '../../src/core/decide.ts';
import type { UserId } from '../../src/core/ids.ts';
import type { UserState } from '../../src/core/session.ts';
import type { Signal } from '../../src/core/signal.ts';
import type { Decide } from '../../src/store/commit.ts';

export type Decided = {
  /** Of the message, as its `device` tells; null for what no message said. */
  readonly n: number | null;
  readonly userId: UserId;
  readonly signal: Signal;
  readonly moment: Moment;
  readonly before: UserState;
  readonly decision: Decision;
};

export type Attempt = {
  readonly id: number;
  readonly decided: Decided[];
  /** Of the messages among them. */
  readonly numbers: Set<number>;
  /** Of each user that was to be written the revision after it; null: nothing was to be written. */
  revisions: ReadonlyMap<UserId, number> | null;
  isWritten: boolean;
  /** For its data. */
  isRefused: boolean;
  /** For people. */
  fate: string;
};

/**
 * conflict: a user changed meanwhile; away: lost before the server had it; unknown: done, and the answer was lost; refuse: the data cannot be
 * stored.
 */
export type Strike = 'conflict' | 'away' | 'unknown' | 'refuse';

export type Interference = {
  /** What has to happen first. */
  readonly before: (statement: string) => Promise<void>;
  readonly strike: (statement: string, values: readonly unknown[]) => Strike | null;
};

export class CommitWitness {
  readonly attempts: Attempt[] = [];
  /** Whether each message that was acknowledged had been committed, or found to change nothing, by then. */
  readonly acknowledged: { readonly n: number; readonly wasCommitted: boolean }[] = [];
  /** What Willow is to use in the place of the pool. */
  readonly pool: pg.Pool;
  /** The statements that are not answered yet, by name. */
  readonly underWay: string[] = [];
  readonly #running = new AsyncLocalStorage<Attempt>();

  constructor(pool: pg.Pool, interference: Interference) {
    const query = async (statement: pg.QueryConfig): Promise<pg.QueryResult> => {
      const attempt = this.#attemptOf(statement);
      this.underWay.push(statement.name ?? '');
      try {
        return await this.#run(pool, statement, attempt, interference);
      } finally {
        this.underWay.splice(this.underWay.indexOf(statement.name ?? ''), 1);
      }
    };
    this.pool = new Proxy(pool, {
      get(target, key) {
        if (key === 'query') return query;
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  /** The attempts in which a message was decided. */
  of(n: number): readonly Attempt[] {
    return this.attempts.filter(({ numbers }) => numbers.has(n));
  }

  /** Decides, and writes it down. */
  watch(decide: Decide): Decide {
    return (before, signal, moment) => {
      const decision = decide(before, signal, moment);
      const { nowMs, lapseUntilMs } = moment;
      const n = numberOf(signal);
      const attempt = this.#running.getStore();
      attempt?.decided.push({ n, userId: before.userId, signal, moment: { nowMs, lapseUntilMs }, before, decision });
      if (n !== null) attempt?.numbers.add(n);
      return decision;
    };
  }

  /** The broker has its PUBACK. */
  hearAcknowledged(n: number): void {
    const attempts = this.of(n);
    // What was never decided is in quarantine, or is found missing otherwise.
    if (attempts.length > 0) this.acknowledged.push({ n, wasCommitted: attempts.some(isOver) });
  }

  /** An attempt begins with its read, which everything after it in the same commit belongs to. */
  #attemptOf({ name, values = [] }: pg.QueryConfig): Attempt | undefined {
    if (name === 'load-users') {
      const id = this.attempts.length;
      const fate = 'decided';
      const attempt = {
        id,
        decided: [],
        numbers: new Set<number>(),
        revisions: null,
        isWritten: false,
        isRefused: false,
        fate,
      };
      this.attempts.push(attempt);
      this.#running.enterWith(attempt);
    }
    const attempt = isWrite(name) ? this.#running.getStore() : undefined;
    if (attempt === undefined) return undefined;
    const [, userIds, revisions] = values as [number, UserId[], number[]];
    attempt.revisions = new Map(userIds.map((userId, index) => [userId, Math.abs(revisions[index] ?? 0)]));
    attempt.fate = 'being written';
    return attempt;
  }

  async #run(
    pool: pg.Pool,
    statement: pg.QueryConfig,
    attempt: Attempt | undefined,
    { before, strike: striking }: Interference,
  ): Promise<pg.QueryResult> {
    const { name = '', values = [] } = statement;
    await before(name);
    const strike = striking(name, values);
    if (attempt !== undefined && strike !== null) attempt.fate = strike;
    if (attempt !== undefined && strike === 'refuse') attempt.isRefused = true;
    if (strike === 'conflict') throw refusal('40001');
    if (strike === 'refuse') throw refusal('23514');
    if (strike === 'away') throw new Error('cut on purpose before the statement');
    const result = await pool.query(statement);
    if (attempt !== undefined) {
      attempt.isWritten = (result.rowCount ?? 0) > 0;
      attempt.fate = `${strike ?? 'done'}, ${attempt.isWritten ? 'written' : 'fenced'}`;
    }
    if (strike === 'unknown') throw new Error('cut on purpose behind the statement');
    return result;
  }
}

/** It was written, or refused, or had nothing to write. */
export function isOver({ isWritten, isRefused, revisions }: Attempt): boolean {
  return isWritten || isRefused || revisions === null;
}

export function isWrite(statement: string | undefined): boolean {
  return statement === 'write' || statement === 'write-fenced';
}

/** The devices of the events that are about to be written, as JSON. */
export function devicesIn(values: readonly unknown[]): readonly string[] {
  return (values[29] as (string | null)[]).flatMap((device) => device ?? []);
}

function numberOf(signal: Signal): number | null {
  const n = 'device' in signal ? signal.device?.['n'] : null;
  return typeof n === 'number' ? n : null;
}

function refusal(code: string): pg.DatabaseError {
  const error = new pg.DatabaseError('struck on purpose', 0, 'error');
  error.code = code;
  return error;
}
