// Tickets as tests make them: with keys that nobody else has, from claims that say what the test is about.

import { createHmac } from 'node:crypto';
import type { Ticket, TicketClaims } from '../../src/core/ticket.ts';
import { listedKey } from '../../src/tickets/keys.ts';

export const newKey = listedKey(Buffer.alloc(32, 1));
export const oldKey = listedKey(Buffer.alloc(32, 2));
export const strangeKey = listedKey(Buffer.alloc(32, 3));

export const claims: TicketClaims = {
  userId: 'alice',
  sessionId: 'phone',
  issuedAtSeconds: 1_699_999_000,
  expiresAtSeconds: 1_702_591_000,
  leaseMs: null,
};

/** A ticket whose signature was found to be good. */
export function ticket(changes: Partial<Ticket> = {}): Ticket {
  return { ...claims, keyId: 'key', isRetired: false, ...changes };
}

const base64url = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A JWS of any header and payload, well signed with any bytes. */
export function jws(header: unknown, payload: unknown, key: Uint8Array, hashName = 'sha256'): string {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${createHmac(hashName, key).update(input).digest('base64url')}`;
}
