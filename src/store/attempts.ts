// What was tried for an endpoint, and what was given up and parked: lists for a person, who lets what is parked be sent again, or removes it.

import type pg from 'pg';
import type { Actor } from '../core/audit.ts';
import type { Event } from '../core/session.ts';
import { recordAudit } from './audit.ts';
import { ask } from './database.ts';
import { endpointsChannel } from './endpoints.ts';
import { transact } from './transact.ts';

export type Attempt = {
  readonly id: number;
  readonly webhookId: string;
  /** Of the events that were sent; null for a test. */
  readonly first: number | null;
  readonly last: number | null;
  readonly count: number;
  readonly atMs: number;
  readonly durationMs: number;
  readonly outcome: string;
  readonly status: number | null;
  readonly detail: string | null;
  readonly body: string | null;
};

export type ParkedEvent = {
  readonly id: number;
  readonly event: Event & { readonly position: number };
  readonly reason: string;
  readonly parkedAtMs: number;
  readonly attempts: number;
  readonly status: number | null;
  readonly detail: string | null;
  /** It is sent again as soon as its turn comes; null while nobody asked for it. */
  readonly retryAtMs: number | null;
};

/** Of a list, newest first. */
export type IdPage = { readonly limit: number; readonly before: number | null };

/** Those with one outcome, or all of them; null when there is no such endpoint. What is read is bounded by what is kept. */
export async function listAttempts(
  pool: pg.Pool,
  endpointId: string,
  outcome: string | null,
  page: IdPage,
): Promise<readonly Attempt[] | null> {
  const { rows } = await ask<Attempt>(pool, {
    text: `select id, webhook_id as "webhookId", first_position as first, last_position as last, count, at as "atMs",
        duration_ms as "durationMs", outcome, status, detail, body
      from attempts where endpoint_id = $1 and ($2::bigint is null or id < $2) and ($4::text is null or outcome = $4)
      order by id desc limit $3`,
    values: [endpointId, page.before, page.limit, outcome],
  });
  return rows.length > 0 || (await isThere(pool, endpointId)) ? rows : null;
}

/** Null when there is no such endpoint. */
export async function listParked(
  pool: pg.Pool,
  endpointId: string,
  page: IdPage,
): Promise<readonly ParkedEvent[] | null> {
  const { rows } = await ask<ParkedEvent>(pool, {
    text: `select id, event, reason, parked_at as "parkedAtMs", attempts, status, detail, retry_at as "retryAtMs"
      from parked where endpoint_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3`,
    values: [endpointId, page.before, page.limit],
  });
  return rows.length > 0 || (await isThere(pool, endpointId)) ? rows : null;
}

/** Lets one parked event be sent again, or all of them; returns how many, and null when there is no such endpoint. */
export async function retryParked(
  pool: pg.Pool,
  endpointId: string,
  parkedId: number | null,
  actor: Actor,
): Promise<number | null> {
  const count = await transact(pool, async (tx) => {
    const { rowCount } = await tx.ask({
      text: `update parked set retry_at = clock_timestamp() where endpoint_id = $1 and ($2::bigint is null or id = $2)`,
      values: [endpointId, parkedId],
    });
    const retried = rowCount ?? 0;
    if (retried === 0) return 0;
    await tx.ask({ text: 'select pg_notify($1, $2)', values: [endpointsChannel, endpointId] });
    const detail = parkedId === null ? { retried } : { retried, parkedId };
    await recordAudit(tx, { actor, action: 'parked.retried', target: `webhook:${endpointId}`, detail });
    return retried;
  });
  return count > 0 || (await isThere(pool, endpointId)) ? count : null;
}

/** Gives one parked event up for good; false when there is none, and null when there is no such endpoint. */
export async function removeParked(
  pool: pg.Pool,
  endpointId: string,
  parkedId: number,
  actor: Actor,
): Promise<boolean | null> {
  const wasThere = await transact(pool, async (tx) => {
    const { rows } = await tx.ask<{ position: number }>({
      text: 'delete from parked where endpoint_id = $1 and id = $2 returning position',
      values: [endpointId, parkedId],
    });
    const [removed] = rows;
    if (removed === undefined) return false;
    const detail = { parkedId, position: removed.position };
    await recordAudit(tx, { actor, action: 'parked.removed', target: `webhook:${endpointId}`, detail });
    return true;
  });
  return wasThere || (await isThere(pool, endpointId)) ? wasThere : null;
}

async function isThere(pool: pg.Pool, endpointId: string): Promise<boolean> {
  const { rowCount } = await ask(pool, { text: 'select from endpoints where id = $1', values: [endpointId] });
  return rowCount === 1;
}
