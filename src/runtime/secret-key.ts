// The keys that secrets are encrypted with, as text: 32 bytes as base64url each, the newest first. One syntax, for the setting and for the
// file that a key is kept in where nobody sets one.

import { randomBytes } from 'node:crypto';
import { keyBytes } from './sealing.ts';

export type SecretKeys = readonly [Buffer, ...Buffer[]];

/** Each is tried by its name, so more would do no harm; nobody rotates a key so often. */
export const secretKeysMax = 16;
export const howToMakeAKey = "make one with: openssl rand -base64 32 | tr '+/' '-_' | tr -d '='";

/** Null where anything else stands between the commas. */
export function keysOf(text: string): SecretKeys | null {
  const parts = text.split(',').map((part) => part.trim());
  // The last of 43 characters carries four bits and two that are nothing: a key is one that reads the same again.
  const keys = parts.map((part) => Buffer.from(part, 'base64url'));
  const isKey = (key: Buffer, index: number) => key.length === keyBytes && key.toString('base64url') === parts[index];
  const [newest, ...older] = keys;
  return newest !== undefined && keys.length <= secretKeysMax && keys.every(isKey) ? [newest, ...older] : null;
}

export function newKey(): string {
  return randomBytes(keyBytes).toString('base64url');
}
