// Secrets that are kept are sealed: AES-256-GCM, under keys that only the settings know, so that a copy of the database tells none of them.
// The first key seals, every key opens: a new key is put in front, and the old one can go when nothing sealed with it is left.
// What is sealed is bound to a context (whose secret it is): moved to another row, it does not open.

import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';

export const keyBytes = 32;

const version = 1;
const keyIdBytes = 4;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 1 + keyIdBytes + nonceBytes;
const algorithm = 'aes-256-gcm';

/** A sealed secret that cannot be opened: sealed with a key that is not there, damaged, or another context's. */
export class SealError extends Error {
  override readonly name = 'SealError';
}

export type Sealing = {
  readonly seal: (secret: Uint8Array, context: string) => Buffer;
  /** Throws SealError. */
  readonly open: (sealed: Uint8Array, context: string) => Buffer;
  /** Whether it was sealed with the first key: if not, sealing it again is what lets the older key go. */
  readonly isNewest: (sealed: Uint8Array) => boolean;
};

type Key = { readonly id: Buffer; readonly bytes: Uint8Array };

/** Keys of 32 bytes, the newest first. */
export function createSealing(keys: readonly [Uint8Array, ...Uint8Array[]]): Sealing {
  const [newest, ...older] = keys.map(
    (bytes): Key => ({ id: hash('sha256', bytes, 'buffer').subarray(0, keyIdBytes), bytes }),
  );
  if (newest === undefined) throw new SealError('there is no key to seal with');
  const all = [newest, ...older];
  return {
    seal: (secret, context) => seal(newest, secret, context),
    open: (sealed, context) => open(all, Buffer.from(sealed), context),
    isNewest: (sealed) => keyIdOf(Buffer.from(sealed)).equals(newest.id),
  };
}

function seal(key: Key, secret: Uint8Array, context: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key.bytes, nonce, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(context));
  const hidden = Buffer.concat([cipher.update(secret), cipher.final()]);
  return Buffer.concat([Buffer.of(version), key.id, nonce, hidden, cipher.getAuthTag()]);
}

function open(keys: readonly Key[], sealed: Buffer, context: string): Buffer {
  if (sealed.length < headBytes + tagBytes || sealed[0] !== version) {
    throw new SealError(`the secret of ${context} is not one that was sealed by this version`);
  }
  const keyId = keyIdOf(sealed);
  const candidates = keys.filter(({ id }) => id.equals(keyId));
  if (candidates.length === 0) {
    throw new SealError(`the secret of ${context} was sealed with a key that SECRET_KEY does not have (any more)`);
  }
  for (const { bytes } of candidates) {
    const opened = tryToOpen(bytes, sealed, context);
    if (opened !== null) return opened;
  }
  throw new SealError(`the secret of ${context} is damaged, or was sealed for another`);
}

function tryToOpen(key: Uint8Array, sealed: Buffer, context: string): Buffer | null {
  const nonce = sealed.subarray(1 + keyIdBytes, headBytes);
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const opened = decipher.update(sealed.subarray(headBytes, -tagBytes));
  try {
    return Buffer.concat([opened, decipher.final()]);
  } catch {
    return null;
  }
}

function keyIdOf(sealed: Buffer): Buffer {
  return sealed.subarray(1, 1 + keyIdBytes);
}
