// The keys that tickets are signed with. Each is derived from one of SECRET_KEY, so that what seals secrets never signs, and one that leaks
// tells nothing of the key that it came from. Its name, which every ticket carries, follows from it and tells nothing of it.

import { createSecretKey, hash, hkdfSync, type KeyObject } from 'node:crypto';

export type TicketKey = {
  readonly keyId: string;
  readonly derived: Buffer;
  readonly secret: KeyObject;
  /** Not in the settings any more: it speaks only for live sessions that were born with it. */
  readonly isRetired: boolean;
};

/** Every version must agree on it: another one makes every ticket that is out there invalid. */
const derivedFor = 'willow tickets';
const keyBytes = 32;
/** 72 bits: nobody meets two keys of one name. */
const keyIdCharacters = 12;

/** That of one of SECRET_KEY. */
export function listedKey(secretKey: Uint8Array): TicketKey {
  return keyOf(Buffer.from(hkdfSync('sha256', secretKey, new Uint8Array(), derivedFor, keyBytes)), false);
}

export function retiredKey(derived: Buffer): TicketKey {
  return keyOf(derived, true);
}

function keyOf(derived: Buffer, isRetired: boolean): TicketKey {
  return { keyId: keyIdOf(derived), derived, secret: createSecretKey(derived), isRetired };
}

function keyIdOf(derived: Uint8Array): string {
  return hash('sha256', derived, 'base64url').slice(0, keyIdCharacters);
}

/** The protected header of every ticket that a key signs, and of no other: nothing else in it is ever read. */
export function headerOf({ keyId }: Pick<TicketKey, 'keyId'>) {
  return { alg: 'HS256', kid: keyId };
}
