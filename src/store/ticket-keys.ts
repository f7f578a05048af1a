// The keys that sign tickets, and those that did, sealed: a key that is taken out of the settings is known here until the live sessions that
// were born with it have ended. Sealed anew with the newest of SECRET_KEY, so that the older one can go.

import type pg from 'pg';
import { SealError, type Sealing } from '../runtime/sealing.ts';
import { ask } from './database.ts';

type ListedKey = { readonly keyId: string; readonly derived: Buffer };

type Kept = { readonly key_id: string; readonly sealed: Buffer };

/** Those that are not kept yet; and those, listed or not, that an older key sealed. What only another process can open is left as it is. */
export async function keepTicketKeys(pool: pg.Pool, sealing: Sealing, listed: readonly ListedKey[]): Promise<void> {
  const { rows } = await ask<Kept>(pool, { text: 'select key_id, sealed from ticket_keys' });
  const kept = new Set(rows.map(({ key_id }) => key_id));
  const older = rows.filter(({ sealed }) => !sealing.isNewest(sealed));
  const opened = older.flatMap(({ key_id: keyId, sealed }) => {
    const derived = openOrNull(sealing, sealed, keyId);
    return derived === null ? [] : [{ keyId, derived }];
  });
  for (const { keyId, derived } of [...listed.filter((key) => !kept.has(key.keyId)), ...opened]) {
    await ask(pool, {
      text: `insert into ticket_keys (key_id, sealed) values ($1, $2)
        on conflict (key_id) do update set sealed = excluded.sealed`,
      values: [keyId, sealing.seal(derived, contextOf(keyId))],
    });
  }
}

/** Removes the keys that are not listed, and that no live session was born with; returns how many. */
export async function forgetTicketKeys(pool: pg.Pool, listed: readonly ListedKey[]): Promise<number> {
  const { rowCount } = await ask(pool, {
    text: `delete from ticket_keys k where k.key_id <> all($1::text[])
      and not exists (select from sessions s where s.ended_at is null and s.key_id = k.key_id)`,
    values: [listed.map(({ keyId }) => keyId)],
  });
  return rowCount ?? 0;
}

/** The keys that are kept and not listed, and the names of those that no key of SECRET_KEY opens. */
export async function listRetiredKeys(
  pool: pg.Pool,
  sealing: Sealing,
  listed: readonly ListedKey[],
): Promise<{ readonly retired: readonly Buffer[]; readonly unreadable: readonly string[] }> {
  const { rows } = await ask<Kept>(pool, {
    text: 'select key_id, sealed from ticket_keys where key_id <> all($1::text[]) order by key_id',
    values: [listed.map(({ keyId }) => keyId)],
  });
  const opened = rows.map(({ key_id: keyId, sealed }) => ({ keyId, derived: openOrNull(sealing, sealed, keyId) }));
  return {
    retired: opened.flatMap(({ derived }) => derived ?? []),
    unreadable: opened.flatMap(({ keyId, derived }) => (derived === null ? [keyId] : [])),
  };
}

/** Moved to another name, a key does not open. */
function contextOf(keyId: string): string {
  return `ticket key ${keyId}`;
}

function openOrNull(sealing: Sealing, sealed: Buffer, keyId: string): Buffer | null {
  try {
    return sealing.open(sealed, contextOf(keyId));
  } catch (error) {
    if (error instanceof SealError) return null;
    throw error;
  }
}
