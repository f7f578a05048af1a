// What an API key looks like: a prefix that is easy to recognise where it should not be, an id to look it up by, and 32 random bytes; one
// word for a shell and for a double click. A key is shown once. What is kept of it is its SHA-256: a slow hash would protect secrets that
// can be guessed, and these cannot.

import { hash, randomBytes } from 'node:crypto';

const idBytes = 8;
const secretBytes = 32;
const form = /^willow_([0-9a-f]{16})_[0-9a-f]{64}$/u;

export function mintKey(): { readonly id: string; readonly key: string; readonly digest: Buffer } {
  const id = randomBytes(idBytes).toString('hex');
  const key = `willow_${id}_${randomBytes(secretBytes).toString('hex')}`;
  return { id, key, digest: digestOf(key) };
}

/** Null: no key of ours looks like this. */
export function keyIdOf(token: string): string | null {
  return form.exec(token)?.[1] ?? null;
}

/** Equal lengths for a comparison that takes the same time wherever the keys differ. */
export function digestOf(token: string): Buffer {
  // By way of a text: twice as fast as asking for a buffer, and this is done for every request.
  return Buffer.from(hash('sha256', token, 'hex'), 'hex');
}
