// The audit trail: who did what, and when. An entry is written by the transaction of what it tells of, so that neither is there without the
// other. Entries are kept for 400 days, and never changed.

import type pg from 'pg';
import type { AuditEntry } from '../core/audit.ts';
import { ask } from './database.ts';
import type { Tx } from './transact.ts';

export type AuditRecord = {
  readonly id: number;
  readonly atMs: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: Readonly<Record<string, unknown>>;
};

/** What is null does not matter. */
export type AuditFilter = {
  readonly actor: string | null;
  readonly action: string | null;
  readonly target: string | null;
};

/** A year, and a month to look back at it. */
export const auditDaysMax = 400;
/** In one statement, so that nobody waits for it. */
export const auditTrimRowsMax = 1_000;

export async function recordAudit(tx: Tx, { actor, action, target, detail }: AuditEntry): Promise<void> {
  await tx.ask({
    text: `insert into audit (at, actor, action, target, detail) values (clock_timestamp(), $1, $2, $3, $4::jsonb)`,
    values: [actor, action, target, JSON.stringify(detail)],
  });
}

/** Newest first. */
export async function listAudit(
  pool: pg.Pool,
  { actor, action, target }: AuditFilter,
  page: { readonly limit: number; readonly before: number | null },
): Promise<readonly AuditRecord[]> {
  // Each column has an index that ends with the id; a condition that is left out must not be in the statement, or none of them serves.
  const conditions = Object.entries({ 'actor =': actor, 'action =': action, 'target =': target, 'id <': page.before })
    .filter(([, value]) => value !== null)
    .map(([condition, value], index) => ({ text: `${condition} $${index + 2}`, value }));
  const where = ['true', ...conditions.map(({ text }) => text)].join(' and ');
  const { rows } = await ask<AuditRecord>(pool, {
    text: `select id, at as "atMs", actor, action, target, detail from audit where ${where} order by id desc limit $1`,
    values: [page.limit, ...conditions.map(({ value }) => value)],
  });
  return rows;
}

/** Removes some of the oldest entries that are too old; returns how many. Ids grow with time, so the oldest are at the beginning. */
export async function trimAudit(pool: pg.Pool): Promise<number> {
  const { rowCount } = await ask(pool, {
    text: `delete from audit where id in (select id from audit order by id limit $1) and at < clock_timestamp() - $2 * interval '1 day'`,
    values: [auditTrimRowsMax, auditDaysMax],
  });
  return rowCount ?? 0;
}
