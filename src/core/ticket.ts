// What a ticket proves: that a backend let this session of this user be spoken for. Here it is held against the signal that it came with;
// whether its signature is ours is told by a function that is passed in. Nothing here throws, whatever a device sends.

import type { UserId } from './ids.ts';
import { isJsonObject } from './json.ts';

/** What stands in a ticket whose signature is ours. */
export type TicketClaims = {
  readonly userId: string;
  readonly sessionId: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
  /** How long the session stays live without a sign of life, in place of LEASE_MS; null where nothing is said of it. */
  readonly leaseMs: number | null;
};

export type Ticket = TicketClaims & {
  readonly keyId: string;
  /** Its key signs no more, and is not in the settings any more: it speaks only for live sessions that were born with it. */
  readonly isRetired: boolean;
};

export type TicketRules = {
  readonly isRequired: boolean;
  /** Null where it is no ticket of ours. Same token, same answer. */
  readonly verify: (token: string) => Ticket | null;
};

export const leaseMsMax = 31 * 86_400_000;

/** As they are signed: RFC 7519 has `sub`, `iat` and `exp`, in seconds. */
export function signedClaims({ userId, sessionId, issuedAtSeconds, expiresAtSeconds, leaseMs }: TicketClaims) {
  const claims = { sub: userId, sid: sessionId, iat: issuedAtSeconds, exp: expiresAtSeconds };
  return leaseMs === null ? claims : { ...claims, leaseMs };
}

/** Null where they are not of the shape that we sign. */
export function claimsOf(signed: unknown): TicketClaims | null {
  if (!isJsonObject(signed)) return null;
  const { sub, sid, iat, exp, leaseMs = null } = signed;
  if (typeof sub !== 'string' || typeof sid !== 'string') return null;
  if (!isWhole(iat, Number.MAX_SAFE_INTEGER) || !isWhole(exp, Number.MAX_SAFE_INTEGER)) return null;
  if (leaseMs !== null && !isWhole(leaseMs, leaseMsMax)) return null;
  return { userId: sub, sessionId: sid, issuedAtSeconds: iat, expiresAtSeconds: exp, leaseMs };
}

function isWhole(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

/** Who a signal is about, as far as its topic and payload tell. */
export type Spoken = {
  readonly isBirth: boolean;
  readonly userId: UserId;
  /** Null where none is named. */
  readonly sessionId: string | null;
};

type TicketRefusal = {
  readonly kind: 'refused';
  readonly reason: 'no-ticket' | 'bad-ticket' | 'expired-ticket' | 'wrong-user';
  readonly detail: string;
};

/** The ticket that a signal came with, if it may speak for it; null where none came, and none is needed. */
export function ticketFor(
  spoken: Spoken,
  token: unknown,
  rules: TicketRules,
  nowMs: number,
): Ticket | TicketRefusal | null {
  if (token === undefined || token === null) {
    return rules.isRequired ? refuse('no-ticket', 'a ticket is required, and there is none') : null;
  }
  const ticket = typeof token === 'string' ? rules.verify(token) : null;
  if (ticket === null) return refuse('bad-ticket', 'the ticket is not one that was signed here');
  if (ticket.userId !== spoken.userId) return refuse('wrong-user', 'the ticket is that of another user');
  if (spoken.sessionId !== null && ticket.sessionId !== spoken.sessionId) {
    return refuse('wrong-user', 'the ticket is that of another session');
  }
  // A will is fixed at CONNECT and may come weeks later: that it was ours to hand out is enough.
  if (!spoken.isBirth) return ticket;
  if (ticket.isRetired) return refuse('bad-ticket', 'the key of the ticket is no longer in use');
  if (ticket.expiresAtSeconds * 1_000 <= nowMs) return refuse('expired-ticket', 'the ticket has expired');
  return ticket;
}

function refuse(reason: TicketRefusal['reason'], detail: string): TicketRefusal {
  return { kind: 'refused', reason, detail };
}
