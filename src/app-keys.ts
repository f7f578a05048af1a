// API keys and the audit trail, plugged together: what the guard and the routes ask for, from the tables, and the two chores behind them.

import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import { runTrimming } from './app-trimming.ts';
import type { Actor } from './core/audit.ts';
import type { GuardPort } from './http/auth.ts';
import type { Caller } from './http/instance.ts';
import type { AuditPort } from './http/routes/audit.ts';
import type { KeysPort } from './http/routes/keys.ts';
import { loop } from './runtime/loop.ts';
import { auditTrimRowsMax, listAudit, trimAudit } from './store/audit.ts';
import type { KeyRing } from './store/key-ring.ts';
import { createKey, getKey, listKeys, removeKey } from './store/keys.ts';

const usesEveryMs = 1_000;
/** Some 1,000 rows a second at most. */
const trimAgainMs = 1_000;
const backOff = { firstMs: 1_000, lastMs: 30_000 };
/** A loop that has not succeeded for so long is not working. */
const usesSilenceMsMax = 15_000;

export function actorOf(caller: Caller): Actor {
  switch (caller.kind) {
    case 'key':
      return `key:${caller.id}`;
    case 'api-key-setting':
      return 'api-key';
    case 'loopback':
      return 'loopback';
  }
}

export function createKeysPort(pool: pg.Pool, ring: KeyRing): KeysPort & GuardPort {
  return {
    knownKey: (id) => ring.known(id),
    findKey: (id) => ring.find(id),
    noteUse: (id) => ring.noteUse(id),
    create: (wish, caller) => createKey(pool, wish, actorOf(caller)),
    list: (page) => listKeys(pool, page),
    get: (id) => getKey(pool, id),
    remove: async (id, caller) => {
      const wasThere = await removeKey(pool, id, actorOf(caller));
      ring.forget(id);
      return wasThere;
    },
  };
}

export function createAuditPort(pool: pg.Pool): AuditPort {
  return (filter, page) => listAudit(pool, filter, page);
}

/** Writes when keys were used, and trims the audit trail, until the signal aborts. */
export async function runKeyChores(
  base: Base,
  { pool, ring }: { readonly pool: pg.Pool; readonly ring: KeyRing },
  signal: AbortSignal,
): Promise<void> {
  const { logger, health } = base;
  const writeUses = async (): Promise<number> => {
    await ring.writeUses();
    return usesEveryMs;
  };
  const trim = async () => (await trimAudit(pool)) === auditTrimRowsMax;
  await Promise.all([
    loop(writeUses, { name: 'keys', signal, logger, backOff, onSuccess: health.watchLoop('keys', usesSilenceMsMax) }),
    runTrimming(base, { name: 'audit', trim, againMs: trimAgainMs }, signal),
  ]);
}
