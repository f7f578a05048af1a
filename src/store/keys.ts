// API keys as they are kept: an id, what they may do, and the SHA-256 by which one is known again. Who made or removed one is written by the
// same transaction.

import type pg from 'pg';
import type { Actor } from '../core/audit.ts';
import { invariant } from '../runtime/invariant.ts';
import { recordAudit } from './audit.ts';
import { ask } from './database.ts';
import { transact } from './transact.ts';

export type ApiKey = {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly lastUsedAtMs: number | null;
};

export type KeyWish = Pick<ApiKey, 'id' | 'name' | 'scopes' | 'expiresAtMs'> & { readonly digest: Buffer };

/** What a request is judged by. */
export type FoundKey = Pick<ApiKey, 'id' | 'name' | 'expiresAtMs' | 'lastUsedAtMs'> & {
  readonly scopes: ReadonlySet<string>;
  readonly digest: Buffer;
};

/** Many for every backend that there is, few for a list that somebody reads. */
export const keysMax = 1_000;
/** The last use of a key is told to the minute. */
export const lastUseMs = 60_000;
/** Any number, as long as all versions agree: who creates waits for the other who does, so that both count right. */
const creationLockKey = 0x6b_65_79;

const keyColumns = `id, name, scopes, created_at as "createdAtMs", expires_at as "expiresAtMs", last_used_at as "lastUsedAtMs"`;

export async function createKey(
  pool: pg.Pool,
  { id, name, scopes, expiresAtMs, digest }: KeyWish,
  actor: Actor,
): Promise<{ readonly kind: 'done'; readonly key: ApiKey } | { readonly kind: 'too-many'; readonly keysMax: number }> {
  return transact(pool, async (tx) => {
    await tx.ask({ text: 'select pg_advisory_xact_lock($1)', values: [creationLockKey] });
    const { rows: counted } = await tx.ask<{ count: number }>({ text: 'select count(*) as count from api_keys' });
    if ((counted[0]?.count ?? 0) >= keysMax) return { kind: 'too-many', keysMax };
    const { rows } = await tx.ask<ApiKey>({
      text: `insert into api_keys (id, name, scopes, digest, created_at, expires_at)
        values ($1, $2, $3, $4, clock_timestamp(), to_timestamp($5::float8 / 1000)) returning ${keyColumns}`,
      values: [id, name, scopes, digest, expiresAtMs],
    });
    const [key] = rows;
    invariant(key !== undefined, 'what a transaction has written it can read');
    const expiresAt = expiresAtMs === null ? null : new Date(expiresAtMs).toISOString();
    await recordAudit(tx, { actor, action: 'key.created', target: `key:${id}`, detail: { name, scopes, expiresAt } });
    return { kind: 'done', key };
  });
}

/** Newest first, then by id, both descending. */
export async function listKeys(
  pool: pg.Pool,
  page: { readonly limit: number; readonly after: { readonly createdAtMs: number; readonly id: string } | null },
): Promise<readonly ApiKey[]> {
  const { rows } = await ask<ApiKey>(pool, {
    text: `select ${keyColumns} from api_keys
      where $1::float8 is null or (created_at, id) < (to_timestamp($1 / 1000), $2)
      order by created_at desc, id desc limit $3`,
    values: [page.after?.createdAtMs ?? null, page.after?.id ?? null, page.limit],
  });
  return rows;
}

export async function getKey(pool: pg.Pool, id: string): Promise<ApiKey | null> {
  const { rows } = await ask<ApiKey>(pool, { text: `select ${keyColumns} from api_keys where id = $1`, values: [id] });
  return rows[0] ?? null;
}

/** False when there was none. */
export async function removeKey(pool: pg.Pool, id: string, actor: Actor): Promise<boolean> {
  return transact(pool, async (tx) => {
    const { rows } = await tx.ask<{ name: string }>({
      text: 'delete from api_keys where id = $1 returning name',
      values: [id],
    });
    const [removed] = rows;
    if (removed === undefined) return false;
    await recordAudit(tx, { actor, action: 'key.removed', target: `key:${id}`, detail: { name: removed.name } });
    return true;
  });
}

/** Those of these ids that there are. */
export async function findKeys(pool: pg.Pool, ids: readonly string[]): Promise<ReadonlyMap<string, FoundKey>> {
  const { rows } = await ask<ApiKey & { readonly digest: Buffer }>(pool, {
    name: 'find-keys',
    text: `select ${keyColumns}, digest from api_keys where id = any($1::text[])`,
    values: [ids],
  });
  return new Map(rows.map((row) => [row.id, { ...row, scopes: new Set(row.scopes) }]));
}

/** When keys were used last; less than a minute after what is known already says nothing new. */
export async function writeLastUses(pool: pg.Pool, uses: ReadonlyMap<string, number>): Promise<void> {
  await ask(pool, {
    name: 'write-last-uses',
    text: `update api_keys k set last_used_at = to_timestamp(u.at / 1000)
      from unnest($1::text[], $2::float8[]) as u(id, at)
      where k.id = u.id and (k.last_used_at is null or k.last_used_at <= to_timestamp(u.at / 1000) - $3 * interval '1 ms')`,
    values: [[...uses.keys()], [...uses.values()], lastUseMs],
  });
}
