// What a backend is handed for its client: whatever the ids and the pointers, it is heard as that user and that session.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SessionId, UserId } from '../../src/core/ids.ts';
import { parsePayload } from '../../src/core/payload.ts';
import { type PreparedSession, preparedMessages, whyUnheard, withField } from '../../src/core/prepared.ts';
import { type Device, parseMessage, type Wire } from '../../src/core/signal.ts';
import { claimsOf } from '../../src/core/ticket.ts';
import { mintTicket } from '../../src/tickets/mint.ts';
import { createVerifier } from '../../src/tickets/verify.ts';
import { holdFor } from './hold-for.ts';
import { claims, newKey } from './tickets.ts';
import { nowMs, wire as plainWire } from './wire.ts';

const wire: Wire = { ...plainWire, tickets: { isRequired: true, verify: createVerifier([newKey]) } };

async function prepared(user: string, session: string, device: Device | null = null): Promise<PreparedSession> {
  const [userId, sessionId] = [UserId.parse(user), SessionId.parse(session)];
  const expiresAtSeconds = nowMs / 1_000 + 60;
  return {
    userId,
    sessionId,
    device,
    ticket: await mintTicket(newKey, { ...claims, userId, sessionId, expiresAtSeconds }),
  };
}

const encode = (payload: object) => new TextEncoder().encode(JSON.stringify(payload));

test('the will and the birth carry the ids, the ticket, and, the birth, the device', async () => {
  const session = await prepared('alice@example.com', 'phone', { os: 'ios' });
  const identity = { userId: 'alice@example.com', sessionId: 'phone', ticket: session.ticket };
  expect(preparedMessages(session, wire)).toEqual({
    will: { topic: '/logout/alice@example.com', payload: identity },
    birth: { topic: '/login/alice@example.com', payload: { ...identity, device: { os: 'ios' } } },
  });
});

test.each([
  ['an address', 'alice@example.com', 'alice@example.com'],
  ['what a URL would not have', 'a:b=c&d é漢🦉 <"x">', 'a:b=c&d é漢🦉 <"x">'],
  ['a wildcard, a slash and a percent sign', '+/#%2F', '%2B%2F%23%252F'],
  ['what a broker may hang up on', '\uffff\u{1fffe}\ufdd0', '%EF%BF%BF%F0%9F%BF%BE%EF%B7%90'],
])(
  'an ACL that compares the topic with the name of the user finds it there as it is: %s',
  async (_what, user, level) => {
    const { will, birth } = preparedMessages(await prepared(user, 'phone'), wire);
    expect([will.topic, birth.topic]).toEqual([`/logout/${level}`, `/login/${level}`]);
  },
);

test('the ids stand where the pointers look for them, within the device too, and what is there already stays', async () => {
  const pointers = { userId: ['account', 'id'], sessionId: ['device', '/serial'], epoch: ['meta', '0', 'at'] };
  const session = await prepared('7', 's', { os: 'ios' });
  const { will, birth } = preparedMessages(session, { ...wire, pointers });
  const { ticket } = session;
  expect(will.payload).toEqual({ account: { id: '7' }, device: { '/serial': 's' }, ticket });
  expect(birth.payload).toEqual({ account: { id: '7' }, device: { os: 'ios', '/serial': 's' }, ticket });
  expect(whyUnheard({ will, birth }, session, { ...wire, pointers }, nowMs)).toBeNull();
});

const token = fc.constantFrom(
  'userId',
  'id',
  'a',
  'b',
  'device',
  'ticket',
  'clientId',
  'reason',
  'epoch',
  '__proto__',
  'constructor',
  '0',
  '',
  '/',
  'é',
);
const pointer = fc.array(token, { minLength: 1, maxLength: 3 });
const pointers = fc.oneof(
  fc.constant(plainWire.pointers),
  fc.record({ userId: pointer, sessionId: pointer, epoch: pointer }),
);
const grapheme = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 256 });
const id = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
    grapheme,
    fc.constantFrom(
      '/',
      '#',
      '+',
      '%',
      '%2F',
      '$SYS',
      '..',
      '"',
      '\\',
      '42',
      '-0',
      '__proto__',
      '🦉'.repeat(256),
      '<'.repeat(256),
      'x'.repeat(256),
    ),
  )
  .filter((text) => UserId.safeParse(text).success);
const device = fc.option(
  fc.dictionary(fc.constantFrom('os', 'a', '0', '__proto__'), fc.oneof(fc.string(), fc.object({ maxDepth: 1 }))),
);

test('every pair of messages that is handed out is heard as its user and session, with whatever epoch; and is refused otherwise', async () => {
  let [heard, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(id, id, pointers, device, fc.nat(), async (user, session, places, of, epoch) => {
      const asked = { ...wire, pointers: places };
      const one = await prepared(user, session, of as Device | null);
      const { will, birth } = preparedMessages(one, asked);
      if (whyUnheard({ will, birth }, one, asked, nowMs) !== null) {
        refused += 1;
        return;
      }
      heard += 1;
      for (const [{ topic, payload }, kind] of [
        [will, 'will'],
        [birth, 'login'],
      ] as const) {
        expect(topic).not.toMatch(/[#+]/u);
        expect(topic.split('/')).toHaveLength(3);
        const bytes = encode(withField(payload, places.epoch, epoch));
        const told = parseMessage(topic, bytes, asked, nowMs);
        expect(told).toMatchObject({ kind, userId: user, sessionId: session, epoch });
        expect(parseMessage('/logout', encode(withField(payload, places.epoch, 2 ** 53)), asked, nowMs)).toMatchObject({
          reason: 'bad-epoch',
        });
      }
    }),
    { numRuns: 1_500 },
  );
  expect(heard).toBeGreaterThan(300);
  expect(refused).toBeGreaterThan(100);
});

describe('messages that would not be heard are refused with a sentence', () => {
  test('ids that are too long together', async () => {
    for (const character of ['🦉', '漢']) {
      const session = await prepared(character.repeat(256), character.repeat(256));
      expect(whyUnheard(preparedMessages(session, wire), session, wire, nowMs)).toMatch(
        /^with these ids and this device a message could have \d+ bytes, and may have 4096$/u,
      );
    }
    const session = await prepared('x'.repeat(256), 'y'.repeat(256), { label: 'z'.repeat(1_000) });
    expect(whyUnheard(preparedMessages(session, wire), session, wire, nowMs)).toBeNull();
  });

  test('pointers that leave no place for the three', async () => {
    for (const places of [
      { userId: ['a'], sessionId: ['a'], epoch: ['c'] },
      { userId: ['a'], sessionId: ['a', 'b'], epoch: ['c'] },
      { userId: ['a'], sessionId: ['b'], epoch: ['b'] },
      { userId: ['ticket'], sessionId: ['b'], epoch: ['c'] },
      { userId: ['reason'], sessionId: ['b'], epoch: ['c'] },
      { userId: ['clientId', 'x'], sessionId: ['b'], epoch: ['c'] },
    ]) {
      const asked = { ...wire, pointers: places };
      const session = await prepared('alice', 'phone');
      expect(whyUnheard(preparedMessages(session, asked), session, asked, nowMs), JSON.stringify(places)).toMatch(
        /\w{4}/u,
      );
    }
  });

  test('a device that is too large with an id in it', async () => {
    const asked = { ...wire, pointers: { ...wire.pointers, sessionId: ['device', 'id'] } };
    const session = await prepared('alice', 's'.repeat(20), { label: 'z'.repeat(1_000) });
    expect(whyUnheard(preparedMessages(session, asked), session, asked, nowMs)).toContain(
      'a device is at most 1024 bytes',
    );
  });
});

test('however a client writes JSON, what is handed out stays within the limit', () => {
  const escapings: ((text: string) => string)[] = [
    (text) => text,
    // Python
    (text) =>
      text.replaceAll(/[^ -~]/gu, (one) =>
        Array.from({ length: one.length }, (_, at) => `\\u${one.charCodeAt(at).toString(16).padStart(4, '0')}`).join(
          '',
        ),
      ),
    // Go
    (text) => text.replaceAll(/[<>&]/gu, (one) => `\\u00${one.charCodeAt(0).toString(16)}`),
    // PHP
    (text) => text.replaceAll('/', '\\/'),
  ];
  holdFor(
    fc.property(id, id, fc.constantFrom(...escapings), (user, session, escape) => {
      const one = {
        userId: UserId.parse(user),
        sessionId: SessionId.parse(session),
        device: null,
        ticket: 'x'.repeat(300),
      };
      const messages = preparedMessages(one, wire);
      if (
        whyUnheard(messages, one, { ...wire, tickets: { isRequired: false, verify: () => ticketOf(one) } }, nowMs) !==
        null
      )
        return;
      const whole = { ...messages.will.payload, epoch: 2 ** 53 - 1, reason: 'logout' };
      const fields = Object.entries(whole).map(
        ([name, value]) => `${escape(JSON.stringify(name))}: ${escape(JSON.stringify(value))}`,
      );
      const parsed = parsePayload(new TextEncoder().encode(`{${fields.join(', ')}}`), wire.pointers);
      expect(parsed).toMatchObject({ kind: 'fields', fields: { userId: user, sessionId: session, reason: 'logout' } });
    }),
    600,
  );
});

function ticketOf({ userId, sessionId }: PreparedSession) {
  const said = claimsOf({ sub: userId, sid: sessionId, iat: 0, exp: 9e9 });
  return said === null ? null : { ...said, keyId: 'k', isRetired: false };
}
