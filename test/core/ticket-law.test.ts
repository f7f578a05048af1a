// The verifier of the hot path, held against jose: it accepts what we wrote, and nothing that jose does not.

import fc from 'fast-check';
import { compactVerify, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import { claimsOf, signedClaims, type Ticket, type TicketClaims } from '../../src/core/ticket.ts';
import { headerOf, retiredKey, type TicketKey } from '../../src/tickets/keys.ts';
import { mintTicket } from '../../src/tickets/mint.ts';
import { createVerifier, ticketCharactersMax } from '../../src/tickets/verify.ts';
import { claims, jws, newKey, oldKey, strangeKey } from './tickets.ts';

const verify = createVerifier([newKey, oldKey]);
const listed = [newKey, oldKey];
const base64url = /^[\w-]*$/u;

/** What jose makes of a token, with the key that its header names; null where it refuses. */
async function joseClaims(token: string): Promise<{ key: TicketKey; payload: unknown } | null> {
  try {
    const [head = ''] = token.split('.');
    const { kid } = JSON.parse(Buffer.from(head, 'base64url').toString()) as { kid?: unknown };
    const key = listed.find(({ keyId }) => keyId === kid);
    if (key === undefined) return null;
    const { payload } = await compactVerify(token, key.secret, { algorithms: ['HS256'] });
    return { key, payload: JSON.parse(Buffer.from(payload).toString()) };
  } catch {
    return null;
  }
}

/** Only we sign, so there is one header for each key, and one spelling of each signature. */
function isOurSpelling(token: string, key: TicketKey): boolean {
  const [head, , signature = ''] = token.split('.');
  const ours = Buffer.from(JSON.stringify(headerOf(key))).toString('base64url');
  return head === ours && Buffer.from(signature, 'base64url').toString('base64url') === signature;
}

async function expectSameAsJose(token: string): Promise<Ticket | null> {
  const told = verify(token);
  const jose = await joseClaims(token);
  const isOurs = jose !== null && token.length <= ticketCharactersMax && isOurSpelling(token, jose.key);
  const expected = isOurs ? claimsOf(jose.payload) : null;
  expect(told).toEqual(expected === null ? null : { ...expected, keyId: jose?.key.keyId, isRetired: false });
  return told;
}

const id = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
const someClaims: fc.Arbitrary<TicketClaims> = fc.record({
  userId: id,
  sessionId: id,
  issuedAtSeconds: fc.nat(),
  expiresAtSeconds: fc.integer({ min: 1, max: 4e9 }),
  leaseMs: fc.option(fc.nat(31 * 86_400_000)),
});
const someKey = fc.constantFrom(newKey, oldKey, strangeKey);

test('what we mint is accepted here and by jose, with the claims that were minted, and by no key but its own', async () => {
  await fc.assert(
    fc.asyncProperty(someClaims, someKey, async (said, key) => {
      const token = await mintTicket(key, said);
      const told = await expectSameAsJose(token);
      expect(told).toEqual(key === strangeKey ? null : { ...said, keyId: key.keyId, isRetired: false });
      // `exp` is told, not judged: that is for births alone.
      const { payload } = await jwtVerify(token, key.secret, { currentDate: new Date(0) });
      expect(payload.sub).toBe(said.userId);
    }),
    { numRuns: 1_000 },
  );
});

test('a ticket with any one bit altered is none', async () => {
  const token = Buffer.from(await mintTicket(newKey, claims));
  expect(verify(token.toString())).not.toBeNull();
  for (let bit = 0; bit < token.length * 8; bit += 1) {
    const altered = Buffer.from(token);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(verify(altered.toString('latin1')), `bit ${bit}`).toBeNull();
    if (bit % 5 === 0) await expectSameAsJose(altered.toString('latin1'));
  }
});

const header = fc.oneof(
  someKey.map(headerOf),
  fc.record(
    {
      alg: fc.constantFrom('HS256', 'none', 'None', 'HS384', 'HS512', 'RS256', 'ES256', 'dir', '', null, 256),
      kid: fc.constantFrom(newKey.keyId, oldKey.keyId, strangeKey.keyId, '', '__proto__', null, 7),
      typ: fc.constantFrom('JWT', 'x'),
      crit: fc.constantFrom(['exp'], [], 'b64'),
      b64: fc.boolean(),
      jwk: fc.constant({ kty: 'oct', k: '' }),
      zip: fc.constant('DEF'),
    },
    { requiredKeys: [] },
  ),
  fc.json(),
);
const payload = fc.oneof(
  someClaims.map(signedClaims),
  fc.record({ sub: fc.jsonValue(), sid: fc.jsonValue(), iat: fc.jsonValue(), exp: fc.jsonValue() }),
  fc.json(),
  fc.string(),
);
const signed = fc
  .tuple(header, payload, someKey, fc.constantFrom('sha256', 'sha256', 'sha512', 'md5'))
  .map(([head, body, { derived }, hashName]) => jws(head, body, derived, hashName));
const alteration = fc.oneof(
  fc.record({ at: fc.nat(), insert: fc.constantFrom('', '.', '=', ' ', 'A', '\u0000', '-', '+', '\u0141', '.eyJ') }),
  fc.record({ at: fc.nat(), insert: fc.string({ maxLength: 3 }) }),
);
const hostile = fc.oneof(
  signed,
  fc.tuple(signed, alteration, fc.nat({ max: 2 })).map(([token, { at, insert }, removed]) => {
    const place = at % (token.length + 1);
    return token.slice(0, place) + insert + token.slice(place + removed);
  }),
  signed.map((token) => token.slice(0, token.lastIndexOf('.') + 1)),
  signed.map((token) => token.replaceAll('.', '..')),
  fc.string(),
  fc.array(fc.stringMatching(base64url), { maxLength: 5 }).map((parts) => parts.join('.')),
);

test('whatever comes, it is judged as jose judges it, and what we did not write is refused', async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(hostile, async (token) => {
      if ((await expectSameAsJose(token)) !== null) accepted += 1;
    }),
    { numRuns: 6_000 },
  );
  expect(accepted).toBeGreaterThan(0);
});

test('a signature is taken in one spelling only, though bytes have four in base64url', async () => {
  const token = await mintTicket(newKey, claims);
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(token.at(-1) ?? '');
  const spellings = [0, 1, 2, 3].map(
    (low) => token.slice(0, -1) + 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'[(last & ~3) | low],
  );
  expect(spellings.filter((one) => verify(one) !== null)).toEqual([token]);
  for (const one of [`${token}=`, `${token}.`, `${token} `, ` ${token}`, `${token}\n`]) expect(verify(one)).toBeNull();
});

test('a ticket of 100 KB is refused unread, and the longest that can be minted is not too long', async () => {
  const long = [`${await mintTicket(newKey, claims)}${'A'.repeat(100_000)}`, '.'.repeat(100_000)];
  for (const token of long) expect(verify(token)).toBeNull();
  const longest = {
    ...claims,
    userId: '\u{10FFFF}'.repeat(256),
    sessionId: '\u{10FFFF}'.repeat(256),
    leaseMs: 31 * 86_400_000,
  };
  const token = await mintTicket(newKey, longest);
  expect(token.length).toBe(2_923);
  expect(verify(token)).toMatchObject(longest);
});

test('a retired key is told as one', async () => {
  const token = await mintTicket(oldKey, claims);
  const told = createVerifier([newKey, retiredKey(oldKey.derived)])(token);
  expect(told).toEqual({ ...claims, keyId: oldKey.keyId, isRetired: true });
});

test('the key that signs is not the one that seals, and its name tells nothing of it', () => {
  const secretKey = Buffer.alloc(32, 1);
  expect(newKey.derived.equals(secretKey)).toBe(false);
  expect(newKey.derived).toHaveLength(32);
  expect(newKey.keyId).toMatch(/^[\w-]{12}$/u);
  expect(newKey.derived.toString('base64url')).not.toContain(newKey.keyId);
  // Tickets that are out there were signed with this very derivation.
  expect(newKey.keyId).toMatchInlineSnapshot(`"mdfqjet6t0Rf"`);
});
