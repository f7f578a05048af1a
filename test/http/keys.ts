// An API key, and ports that know it and nothing else.

import { mintKey } from '../../src/http/api-key.ts';
import type { StoredKey } from '../../src/http/auth.ts';
import { type Scope, scopes } from '../../src/http/instance.ts';
import type { ApiKey } from '../../src/http/routes/keys.ts';
import type { HttpDeps } from '../../src/http/server.ts';
import { atMs } from './ada.ts';

export const apiKey: ApiKey = {
  id: '1f0c8e5a9b3d7246',
  name: 'billing',
  scopes: ['presence:read', 'events:read'],
  createdAtMs: atMs,
  expiresAtMs: null,
  lastUsedAtMs: atMs + 60_000,
};

export const keys: HttpDeps['keys'] = {
  knownKey: () => null,
  findKey: () => null,
  noteUse: () => undefined,
  create: async ({ digest: _digest, ...wish }) => ({
    kind: 'done',
    key: { ...wish, createdAtMs: atMs, lastUsedAtMs: null },
  }),
  list: async () => [],
  get: async () => apiKey,
  remove: async () => true,
};

export type Minted = StoredKey & { readonly key: string };

export function minted(granted: readonly Scope[] = scopes, expiresAtMs: number | null = null): Minted {
  return { ...mintKey(), name: 'billing', scopes: new Set(granted), expiresAtMs };
}

/** Knows these keys, as a database does: a moment later, and once it was asked for one at once. */
export function knowing(...all: readonly StoredKey[]): HttpDeps['keys'] {
  const asked = new Set<string>();
  const find = (id: string) => all.find((key) => key.id === id) ?? null;
  return {
    ...keys,
    knownKey: (id) => (asked.has(id) ? find(id) : null),
    findKey: async (id) => {
      asked.add(id);
      return find(id);
    },
  };
}
