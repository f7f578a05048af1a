// Tickets are made here: JWS in compact form (RFC 7515), HS256. The same claims and key give the same ticket.

import { SignJWT } from 'jose';
import { signedClaims, type TicketClaims } from '../core/ticket.ts';
import { headerOf, type TicketKey } from './keys.ts';

export async function mintTicket(key: TicketKey, claims: TicketClaims): Promise<string> {
  return new SignJWT(signedClaims(claims)).setProtectedHeader(headerOf(key)).sign(key.secret);
}
