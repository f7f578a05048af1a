// What was asked for under an Idempotency-Key, kept for a day, for each caller by itself. The row comes first; what was asked is marked as
// done in the transaction that does it (write.ts), so that it is done once, wherever a process dies. No secret is kept: the answer is made anew.

import type pg from 'pg';
import type { Actor, AuditEntry } from '../core/audit.ts';
import type { SessionId, UserId } from '../core/ids.ts';
import { recordAudit } from './audit.ts';
import { ask, ConflictError } from './database.ts';
import { transact } from './transact.ts';

export type Once = { readonly caller: Actor; readonly key: string };

export type Claim = {
  readonly userId: UserId;
  readonly sessionId: SessionId;
  readonly issuedAtSeconds: number;
  /** Of all that was asked for. */
  readonly digest: Buffer;
};

type Claimed = Pick<Claim, 'sessionId' | 'issuedAtSeconds'> & { readonly isDone: boolean };

type Row = { readonly digest: Buffer; readonly session_id: string; readonly issued_at: number; readonly done: boolean };

const keptHours = 24;
/** In one statement, so that nobody waits for it. */
export const onceTrimRowsMax = 1_000;

/**
 * What the first request with this key was given; `reused` where it asked for something else. With `whole` there is no more to do than to
 * give it away: that it was given is written with it.
 */
export async function claimOnce(
  pool: pg.Pool,
  { caller, key }: Once,
  claim: Claim,
  whole: AuditEntry | null,
): Promise<Claimed | 'reused'> {
  return transact(pool, async (tx) => {
    const { rowCount } = await tx.ask({
      text: `insert into idempotency (caller, key, digest, user_id, session_id, issued_at, done, at)
        values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
        on conflict (caller, key) do update set digest = excluded.digest, user_id = excluded.user_id,
          session_id = excluded.session_id, issued_at = excluded.issued_at, done = excluded.done, at = excluded.at
        where idempotency.at < clock_timestamp() - interval '${keptHours} hours'`,
      values: [caller, key, claim.digest, claim.userId, claim.sessionId, claim.issuedAtSeconds, whole !== null],
    });
    if (rowCount === 1) {
      if (whole !== null) await recordAudit(tx, whole);
      return { sessionId: claim.sessionId, issuedAtSeconds: claim.issuedAtSeconds, isDone: whole !== null };
    }
    const { rows } = await tx.ask<Row>({
      text: 'select digest, session_id, issued_at, done from idempotency where caller = $1 and key = $2',
      values: [caller, key],
    });
    const [first] = rows;
    if (first === undefined) throw new ConflictError('the first request was erased a moment ago');
    if (!first.digest.equals(claim.digest)) return 'reused';
    return { sessionId: first.session_id as SessionId, issuedAtSeconds: first.issued_at, isDone: first.done };
  });
}

/** Whether it is there, and done. A user who is erased takes with him what was asked for him. */
export async function isDone(pool: pg.Pool, { caller, key }: Once): Promise<boolean> {
  const { rows } = await ask(pool, {
    text: 'select from idempotency where caller = $1 and key = $2 and done',
    values: [caller, key],
  });
  return rows.length > 0;
}

/** Removes some of the oldest that are too old; returns how many. */
export async function trimOnce(pool: pg.Pool): Promise<number> {
  const { rowCount } = await ask(pool, {
    text: `delete from idempotency where (caller, key) in (
      select caller, key from idempotency where at < clock_timestamp() - interval '${keptHours} hours'
      order by at limit $1 for update skip locked)`,
    values: [onceTrimRowsMax],
  });
  return rowCount ?? 0;
}
