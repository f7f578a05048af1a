import { describe, expect, test } from 'vitest';
import { type MessageSignal, parseMessage, type Refused } from '../../src/core/signal.ts';
import { claimsOf, leaseMsMax, signedClaims, type Ticket } from '../../src/core/ticket.ts';
import { claims, ticket } from './tickets.ts';
import { nowMs, wire } from './wire.ts';

type Heard = MessageSignal | Refused;

/** What is heard where the token `t` is this ticket. */
function hear(topic: string, payload: object, of: Ticket | null, isRequired = true): Heard {
  const tickets = { isRequired, verify: (token: string) => (token === 't' ? of : null) };
  return parseMessage(topic, new TextEncoder().encode(JSON.stringify(payload)), { ...wire, tickets }, nowMs);
}

const reasonOf = (heard: Heard) => (heard.kind === 'refused' ? heard.reason : heard.kind);

describe.each([true, false])('where tickets are required: %s', (isRequired) => {
  const reason = (topic: string, payload: object, of: Ticket | null) => reasonOf(hear(topic, payload, of, isRequired));

  test('a message without a ticket is heard only where none is required', () => {
    for (const [topic, kind] of [
      ['/login', 'login'],
      ['/logout', 'will'],
    ] as const) {
      for (const payload of [{ userId: 'alice' }, { userId: 'alice', ticket: null }]) {
        expect(reason(topic, payload, ticket())).toBe(isRequired ? 'no-ticket' : kind);
      }
    }
  });

  test('a ticket that is there must be valid', () => {
    for (const token of ['x', '', 't ', 7, true, {}, ['t'], { t: 't' }]) {
      expect(reason('/login', { userId: 'alice', sessionId: 'phone', ticket: token }, ticket())).toBe('bad-ticket');
    }
    expect(reason('/logout', { userId: 'alice', sessionId: 'phone', ticket: 't' }, null)).toBe('bad-ticket');
  });

  test('it speaks for its own user and session, as exact texts', () => {
    const identities: readonly [string, object, string][] = [
      ['/logout', { userId: 'alice', sessionId: 'phone' }, 'will'],
      ['/logout/alice/phone', {}, 'will'],
      ['/logout', { userId: 'Alice', sessionId: 'phone' }, 'wrong-user'],
      ['/logout', { userId: 'alice ', sessionId: 'phone' }, 'wrong-user'],
      ['/logout', { userId: 'alice', sessionId: 'Phone' }, 'wrong-user'],
      ['/logout', { userId: 'bob', sessionId: 'phone' }, 'wrong-user'],
      ['/logout/alice/tablet', {}, 'wrong-user'],
      ['/logout', { userId: 'alice', clientId: 'phone' }, 'will'],
      ['/logout', { userId: 'alice', clientId: 'c' }, 'wrong-user'],
      ['/logout', { userId: 'alice', sessionId: 'phone', clientId: 'c' }, 'will'],
    ];
    for (const [topic, identity, expected] of identities) {
      expect(reason(topic, { ...identity, ticket: 't' }, ticket()), JSON.stringify(identity)).toBe(expected);
    }
    const nfd = ticket({ userId: 'e\u0301', sessionId: 's' });
    expect(reason('/logout', { userId: '\u00e9', sessionId: 's', ticket: 't' }, nfd)).toBe('wrong-user');
    const digits = ticket({ userId: '9007199254740993', sessionId: 's' });
    expect(reason('/logout', { userId: '9007199254740993', sessionId: 's', ticket: 't' }, digits)).toBe('will');
  });
});

test('a signal that names no session is about that of its ticket, with an epoch and without', () => {
  for (const epoch of [null, 5]) {
    for (const topic of ['/login', '/logout', '/logout/alice']) {
      const payload = { userId: 'alice', epoch, ticket: 't' };
      expect(hear(topic, payload, ticket())).toMatchObject({ userId: 'alice', sessionId: 'phone', epoch });
    }
  }
});

test('the ticket goes on with the signal: its key, its lease, and whether its key is retired', () => {
  const one = ticket({ leaseMs: 60_000, keyId: 'k', isRetired: true });
  expect(hear('/logout', { userId: 'alice', ticket: 't' }, one)).toMatchObject({ kind: 'will', ticket: one });
});

test('births, and births alone, need a ticket that has not expired, by a key that is in use', () => {
  const inSeconds = Math.floor(nowMs / 1_000);
  const payload = { userId: 'alice', ticket: 't' };
  const goodbye = { ...payload, reason: 'logout' };
  for (const [expiresAtSeconds, birth] of [
    [inSeconds + 1, 'login'],
    [inSeconds, 'expired-ticket'],
    [0, 'expired-ticket'],
  ] as const) {
    const of = ticket({ expiresAtSeconds });
    expect(reasonOf(hear('/login', payload, of))).toBe(birth);
    expect(reasonOf(hear('/logout', payload, of))).toBe('will');
    expect(reasonOf(hear('/logout', goodbye, of))).toBe('logout');
  }
  const retired = ticket({ isRetired: true });
  expect(reasonOf(hear('/login', payload, retired))).toBe('bad-ticket');
  expect(reasonOf(hear('/logout', payload, retired))).toBe('will');
  expect(reasonOf(hear('/logout', goodbye, retired))).toBe('logout');
});

describe('claims', () => {
  test('come back as they were signed', () => {
    for (const leaseMs of [null, 0, leaseMsMax]) {
      const signed = JSON.parse(JSON.stringify(signedClaims({ ...claims, leaseMs }))) as unknown;
      expect(claimsOf(signed)).toEqual({ ...claims, leaseMs });
    }
  });

  test('of any other shape are none', () => {
    const good = signedClaims(claims);
    const others: unknown[] = [undefined, null, 'x', 7, [], [good], {}];
    for (const name of ['sub', 'sid', 'iat', 'exp'] as const) {
      others.push({ ...good, [name]: undefined }, { ...good, [name]: null }, { ...good, [name]: {} });
    }
    others.push({ ...good, sub: 7 }, { ...good, sid: ['phone'] });
    for (const number of [-1, 1.5, Number.NaN, '7', 2 ** 53, 1e300]) {
      others.push({ ...good, iat: number }, { ...good, exp: number }, { ...good, leaseMs: number });
    }
    others.push({ ...good, leaseMs: leaseMsMax + 1 });
    for (const other of others) expect(claimsOf(other), JSON.stringify(other)).toBeNull();
  });
});
