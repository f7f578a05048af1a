// What was tried for an endpoint, and what was given up and parked: lists for a person, and the second chance of what is parked.

import type pg from 'pg';
import type { Event } from '../core/session.ts';
import { ask } from './database.ts';
import { endpointsChannel } from './endpoints.ts';

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

/** Null when there is no such endpoint. */
export async function listAttempts(
  pool: pg.Pool,
  endpointId: string,
  page: IdPage,
): Promise<readonly Attempt[] | null> {
  const { rows } = await ask<Attempt>(pool, {
    text: `select id, webhook_id as "webhookId", first_position as first, last_position as last, count, at as "atMs",
        duration_ms as "durationMs", outcome, status, detail, body
      from attempts where endpoint_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3`,
    values: [endpointId, page.before, page.limit],
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
export async function retryParked(pool: pg.Pool, endpointId: string, parkedId: number | null): Promise<number | null> {
  const { rows } = await ask<{ count: number }>(pool, {
    text: `with retried as (
        update parked set retry_at = clock_timestamp()
        where endpoint_id = $1 and ($2::bigint is null or id = $2) returning id),
      told as (select pg_notify($3, $1) from retried limit 1)
      select (select count(*) from retried) as count, (select count(*) from told) as told`,
    values: [endpointId, parkedId, endpointsChannel],
  });
  const count = rows[0]?.count ?? 0;
  return count > 0 || (await isThere(pool, endpointId)) ? count : null;
}

async function isThere(pool: pg.Pool, endpointId: string): Promise<boolean> {
  const { rowCount } = await ask(pool, { text: 'select from endpoints where id = $1', values: [endpointId] });
  return rowCount === 1;
}
