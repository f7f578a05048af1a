// Whether a ticket is ours, told at the rate at which messages come: HMAC by node:crypto takes 4 µs, where jose, which is asynchronous and
// checks any JWS there is, takes five times as long at best. What is accepted here jose accepts, with the same claims; what jose accepts
// and this does not was not written by us. Nothing here throws, whatever a device sends.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { parseJson } from '../core/json.ts';
import { claimsOf, type Ticket } from '../core/ticket.ts';
import { headerOf, type TicketKey } from './keys.ts';

/** The longest ids give 2,923. */
export const ticketCharactersMax = 3_000;

/** `alg` and `kid` are not read from a token: it begins with the very header that one of these keys writes, or it is none of ours. */
export function createVerifier(keys: readonly TicketKey[]): (token: string) => Ticket | null {
  const byHeader = new Map(keys.map((key) => [Buffer.from(JSON.stringify(headerOf(key))).toString('base64url'), key]));
  return (token) => {
    if (token.length > ticketCharactersMax) return null;
    const payloadAt = token.indexOf('.') + 1;
    const signatureAt = token.indexOf('.', payloadAt) + 1;
    if (payloadAt === 0 || signatureAt === 0) return null;
    const key = byHeader.get(token.slice(0, payloadAt - 1));
    if (key === undefined) return null;
    const signed = createHmac('sha256', key.secret)
      .update(token.slice(0, signatureAt - 1))
      .digest('base64url');
    if (!isEqual(token.slice(signatureAt), signed)) return null;
    const payload = Buffer.from(token.slice(payloadAt, signatureAt - 1), 'base64url').toString();
    const claims = claimsOf(parseJson(payload)?.value);
    return claims === null ? null : { ...claims, keyId: key.keyId, isRetired: key.isRetired };
  };
}

/** As texts: bytes have more than one spelling in base64url, and only ours is a signature. */
function isEqual(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
