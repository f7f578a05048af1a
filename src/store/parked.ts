// Events that a receiver refused, kept for a person: which of them somebody wants to be tried again, and what came of it.

import type pg from 'pg';
import { ask } from './database.ts';
import type { AttemptRow } from './lanes.ts';
import type { LoggedEvent } from './log.ts';

export type DueParked = { readonly id: number; readonly endpointId: string; readonly event: LoggedEvent };

/** Longer than an attempt can take: a process that dies leaves what it had claimed to the next. */
const claimMs = 60_000;

/** The oldest that somebody asked to be tried again, claimed: nobody else gets it for a minute. */
export async function claimParked(pool: pg.Pool, endpointId: string): Promise<DueParked | null> {
  const { rows } = await ask<{ id: number; event: LoggedEvent }>(pool, {
    name: 'claim-parked',
    text: `update parked p set retry_at = clock_timestamp() + interval '${claimMs} ms'
      where p.endpoint_id = $1 and p.id = (
        select d.id from parked d where d.endpoint_id = $1 and d.retry_at <= clock_timestamp()
        order by d.retry_at, d.id limit 1 for update skip locked)
      returning p.id, p.event`,
    values: [endpointId],
  });
  const [row] = rows;
  return row === undefined ? null : { id: row.id, endpointId, event: row.event };
}

/** Delivered: it is no longer parked. Otherwise it waits for the next time that somebody asks. */
export async function settleParked(
  pool: pg.Pool,
  parked: Pick<DueParked, 'id' | 'endpointId'>,
  { isDelivered, attempt }: { readonly isDelivered: boolean; readonly attempt: AttemptRow },
): Promise<void> {
  await ask(pool, {
    name: 'settle-parked',
    text: `with gone as (delete from parked where endpoint_id = $1 and id = $2 and $3),
      kept as (update parked set retry_at = null, attempts = attempts + 1, status = $10, detail = $11
        where endpoint_id = $1 and id = $2 and not $3)
      insert into attempts (endpoint_id, webhook_id, first_position, last_position, count, at, duration_ms, outcome, status, detail, body)
      select e.id, $4, $5, $6, 1, to_timestamp($7::float8 / 1000), $8, $9, $10, $11, $12 from endpoints e where e.id = $1`,
    values: [
      parked.endpointId,
      parked.id,
      isDelivered,
      attempt.webhookId,
      attempt.first,
      attempt.last,
      attempt.atMs,
      Math.round(attempt.durationMs),
      attempt.outcome,
      attempt.status,
      attempt.detail,
      attempt.body,
    ],
  });
}

/** In one statement, so that nobody waits for it. */
export const attemptsTrimRowsMax = 5_000;

/**
 * Of each endpoint the newest that were delivered are kept, and the newest of the others: successes do not push failures out. Removes some of
 * what is too much, and returns how many.
 */
export async function trimAttempts(pool: pg.Pool, endpointIds: readonly string[], keptMax: number): Promise<number> {
  const beyond = (condition: string) => `(select n.endpoint_id, n.id from attempts n
      where n.endpoint_id = mine.endpoint_id and n.outcome ${condition} order by n.id desc offset $2 limit $3)`;
  const { rowCount } = await ask(pool, {
    name: 'trim-attempts',
    text: `delete from attempts a using (
        select o.endpoint_id, o.id from unnest($1::text[]) as mine(endpoint_id)
        cross join lateral (${beyond(`= 'delivered'`)} union all ${beyond(`<> 'delivered'`)}) o limit $3) old
      where a.endpoint_id = old.endpoint_id and a.id = old.id`,
    values: [endpointIds, keptMax, attemptsTrimRowsMax],
  });
  return rowCount ?? 0;
}
