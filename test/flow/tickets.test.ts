// Nobody is logged out, or in, by somebody else: tickets of every wrong kind, from a real broker.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SessionId, UserId } from '../../src/core/ids.ts';
import type { TicketClaims } from '../../src/core/ticket.ts';
import { headerOf, listedKey } from '../../src/tickets/keys.ts';
import { mintTicket } from '../../src/tickets/mint.ts';
import { jws, strangeKey } from '../core/tickets.ts';
import { prepare, withEpoch } from '../support/prepared.ts';
import { announced, announcedWhen, countedWhen, openStage, type Stage } from '../support/stage.ts';
import { openVoice, withWill } from '../support/voice.ts';
import { secretKey, type Willow } from '../support/willow.ts';

let stage: Stage;
/** On the same broker: tickets are not required. */
let lenient: Willow;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '0', REQUIRE_TICKETS: 'true' });
  lenient = await stage.open({ GRACE_MS: '0' });
});

afterAll(() => stage[Symbol.asyncDispose]());

const key = listedKey(Buffer.from(secretKey, 'base64url'));
const nowSeconds = Math.floor(Date.now() / 1_000);
const claimsOf = (userId: string, changes: Partial<TicketClaims> = {}): TicketClaims => ({
  userId,
  sessionId: 'phone',
  issuedAtSeconds: nowSeconds,
  expiresAtSeconds: nowSeconds + 3_600,
  leaseMs: null,
  ...changes,
});
const mint = (userId: string, changes: Partial<TicketClaims> = {}) => mintTicket(key, claimsOf(userId, changes));
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

let marks = 0;

/** Everything that was said before has been settled. */
async function settled(): Promise<void> {
  marks += 1;
  const { birth } = await prepare(stage.willow, `mark-${marks}`);
  await stage.voice.say(birth.topic, withEpoch(birth, 1));
  for (const willow of [stage.willow, lenient]) {
    await willow.presenceWhen(`mark-${marks}`, ({ status }) => status === 'online');
  }
}

async function logIn(userId: string, sessionId = 'phone'): Promise<{ readonly ticket: string }> {
  const { birth } = await prepare(stage.willow, userId, { sessionId });
  await stage.voice.say(birth.topic, withEpoch(birth, 5));
  for (const willow of [stage.willow, lenient]) {
    await willow.presenceWhen(userId, ({ sessions }) => sessions.some((one) => one.sessionId === sessionId));
  }
  return { ticket: birth.payload.ticket };
}

async function quarantined(reason: string): Promise<number> {
  return stage.willow.metric('willow_quarantined_total', { reason });
}

/** What is said about a user who is online, and changes nothing of it: how many messages it is, and why they are put aside. */
async function expectRefused(
  userId: string,
  reason: string,
  payloads: readonly (string | object)[],
  of = [stage.willow, lenient],
) {
  const before = await Promise.all(of.map((willow) => willow.metric('willow_quarantined_total', { reason })));
  const told = await Promise.all(of.map((willow) => announced(willow, userId)));
  for (const payload of payloads) await stage.voice.say('/logout', payload);
  await settled();
  for (const [index, willow] of of.entries()) {
    expect(await announced(willow, userId)).toEqual(told[index]);
    expect((await willow.presence(userId)).status).toBe('online');
    const count = (before[index] ?? 0) + payloads.length;
    expect(await countedWhen(willow, 'willow_quarantined_total', { reason }, count)).toBe(count);
  }
}

const will = (userId: string, ticket: unknown, more: object = {}) => ({
  userId,
  sessionId: 'phone',
  epoch: 6,
  ticket,
  ...more,
});

describe('a user who is online stays online, whether tickets are required or not', () => {
  test('after a will whose ticket is altered by one bit, at every seventh place', async () => {
    const { ticket } = await logIn('altered');
    const altered = Array.from({ length: Math.ceil(ticket.length / 7) }, (_, index) => {
      const at = index * 7;
      return ticket.slice(0, at) + String.fromCharCode(ticket.charCodeAt(at) ^ 1) + ticket.slice(at + 1);
    });
    const last = `${ticket.slice(0, -1)}${String.fromCharCode(ticket.charCodeAt(ticket.length - 1) ^ 1)}`;
    await expectRefused(
      'altered',
      'bad-ticket',
      [...altered, last].map((one) => will('altered', one)),
    );
  });

  test('after wills with alg none, with any other algorithm, with an unknown key, and with what is no ticket', async () => {
    await logIn('forged');
    const claims = { sub: 'forged', sid: 'phone', iat: nowSeconds, exp: nowSeconds + 60 };
    const { derived } = key;
    const header = headerOf(key);
    const unsigned = (alg: string) => `${base64url({ ...header, alg })}.${base64url(claims)}.`;
    const tokens = [
      ...['none', 'None', 'NONE', 'HS256'].map(unsigned),
      jws({ alg: 'none', kid: key.keyId }, claims, derived),
      jws({ ...header, alg: 'HS512' }, claims, derived, 'sha512'),
      jws({ ...header, alg: 'HS512' }, claims, derived),
      jws({ ...header, typ: 'JWT' }, claims, derived),
      jws({ alg: 'HS256' }, claims, derived),
      jws({ ...header, jwk: { kty: 'oct', k: strangeKey.derived.toString('base64url') } }, claims, strangeKey.derived),
      jws(header, claims, strangeKey.derived),
      jws(headerOf(strangeKey), claims, strangeKey.derived),
      jws(header, claims, Buffer.from(secretKey, 'base64url')),
      jws(header, claims, Buffer.alloc(0)),
      jws(header, { sub: 'forged' }, derived),
      jws(header, { ...claims, sub: ['forged'] }, derived),
      jws(header, { ...claims, exp: 'never' }, derived),
      jws(header, 'forged', derived),
      jws(header, '[]', derived),
      '',
      '.',
      '..',
      '...',
      'forged',
      'A'.repeat(3_500),
    ];
    await expectRefused('forged', 'bad-ticket', [
      ...tokens.map((token) => will('forged', token)),
      ...[7, true, {}, [], ['x']].map((token) => will('forged', token)),
    ]);
  });

  test('after wills with the ticket of another user, or of another session of his own', async () => {
    await logIn('victim');
    const { ticket: tablet } = await logIn('victim', 'tablet');
    const theirs = await mint('thief');
    const payloads = [
      will('victim', theirs),
      { userId: 'victim', ticket: theirs },
      { userId: 'victim', epoch: 6, ticket: theirs },
      will('victim', await mint('Victim')),
      will('victim', await mint('victim ')),
      will('victim', tablet),
      { userId: 'victim', clientId: 'phone', ticket: tablet },
    ];
    await expectRefused('victim', 'wrong-user', payloads);
  });

  test('after a will with 100 KB of ticket', async () => {
    const { ticket } = await logIn('long');
    await expectRefused('long', 'payload-too-large', [
      will('long', ticket + 'A'.repeat(100_000)),
      will('long', '.'.repeat(100_000)),
    ]);
  });
});

test('without a ticket nobody is logged in or out where they are required; elsewhere as ever', async () => {
  const before = await quarantined('no-ticket');
  await logIn('bare');
  const said = [
    ['/logout', 'bare'],
    ['/logout/bare', ''],
    ['/logout', will('bare', null)],
    ['/login', { userId: 'fresh' }],
  ] as const;
  for (const [topic, payload] of said) await stage.voice.say(topic, payload);
  await announcedWhen(lenient, 'bare', 4);
  await lenient.presenceWhen('fresh', ({ status }) => status === 'online');
  await settled();
  expect(await announced(stage.willow, 'bare')).toEqual(['session.started phone 5', 'user.online phone 5']);
  expect((await stage.willow.presence('fresh')).status).toBe('offline');
  expect(await countedWhen(stage.willow, 'willow_quarantined_total', { reason: 'no-ticket' }, before + 4)).toBe(
    before + 4,
  );
});

test('a will that names no session ends that of its ticket, and never the others', async () => {
  const { ticket } = await logIn('many');
  await logIn('many', 'tablet');
  await logIn('many', 'watch');
  await stage.voice.say('/logout/many', { ticket });
  for (const willow of [stage.willow, lenient]) {
    const { sessions } = await willow.presenceWhen('many', (presence) => presence.sessions.length < 3);
    expect(sessions.map(({ sessionId }) => sessionId).toSorted()).toEqual(['tablet', 'watch']);
  }
});

test('an expired ticket opens nothing, and its will is heard, however late', async () => {
  const expired = { issuedAtSeconds: nowSeconds - 90 * 86_400, expiresAtSeconds: nowSeconds - 60 * 86_400 };
  const ticket = await mint('old-timer', expired);
  const before = await quarantined('expired-ticket');
  await stage.voice.say('/login', { userId: 'old-timer', sessionId: 'phone', epoch: 5, ticket });
  await settled();
  expect(await quarantined('expired-ticket')).toBe(before + 1);
  expect(await announced(stage.willow, 'old-timer')).toEqual([]);
  // It was born while its ticket was good.
  await logIn('old-timer');
  await using client = await openVoice(
    stage.mosquitto.url,
    withWill('/logout', will('old-timer', ticket, { epoch: 5 })),
  );
  client.vanish();
  expect((await announcedWhen(stage.willow, 'old-timer', 4)).at(-1)).toBe('user.offline phone 5 will');
});

test('the ticket of one client, in the hands of another, is good for that session, and for nothing else', async () => {
  const { ticket } = await logIn('copied');
  await logIn('copied', 'tablet');
  await stage.voice.say('/logout', { userId: 'copied', sessionId: 'tablet', epoch: 9, ticket });
  await stage.voice.say('/logout', { userId: 'copied', sessionId: 'phone', epoch: 9, ticket });
  const { sessions } = await stage.willow.presenceWhen('copied', (presence) => presence.sessions.length === 1);
  expect(sessions).toMatchObject([{ sessionId: 'tablet', epoch: 5 }]);
});

test('what the quarantine keeps cannot be used: the signatures are cut out, of payloads and topics, whole or cut themselves', async () => {
  const { pool } = stage.database;
  await pool.query('delete from quarantine');
  const ticket = await mint('kept');
  const [head, body, signature = ''] = ticket.split('.');
  const padded = (count: number) => ({ userId: 'kept', note: 'x'.repeat(count), epoch: -1, ticket });
  const payloads = [
    { userId: 'else', ticket },
    { userId: 'kept', epoch: -1, ticket, again: `Bearer ${ticket}`, glued: `x${ticket}`, chained: `a.b.${ticket}.c` },
    padded(1_024 - ticket.length),
    padded(1_024 - ticket.length - 40 + signature.length),
    `not json ${ticket}`,
    ticket,
  ];
  for (const payload of payloads) await stage.voice.say('/logout', payload);
  await stage.voice.say('/logout', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(ticket)]));
  await stage.voice.say(`/logout/a/b/${ticket}`, '');
  await stage.voice.say('/logout', { userId: 'kept', epoch: -1, words: 'a.b.c and 1.2.3 and example.com' });
  await settled();
  const { rows } = await pool.query<{ topic: string; payload: Buffer; reason: string }>(
    'select topic, payload, reason from quarantine order by id',
  );
  // A bare ticket is a user id like any other, and comes without one.
  expect(rows.map(({ reason }) => reason)).toEqual([
    'wrong-user',
    ...Array.from({ length: 3 }, () => 'bad-epoch'),
    'bad-shape',
    'no-ticket',
    'not-utf8',
    'unknown-topic',
    'bad-epoch',
  ]);
  const kept = rows.map(({ topic, payload }) => `${topic} ${payload.toString()}`);
  for (const text of kept) expect(text).not.toContain(signature.slice(0, 6));
  expect(kept[0]).toContain(`${head}.${body}.…`);
  expect(kept[7]).toContain('.…');
  expect(kept[8]).toContain('a.b.c and 1.2.3 and example.com');
});

test('ids in a ticket are compared as they are, whatever they look like', async () => {
  for (const userId of ['__proto__', '42', '9007199254740993', 'a/b', '%2F', '🦉', 'é', 'e\u0301']) {
    expect(UserId.safeParse(userId).success && SessionId.safeParse(userId).success).toBe(true);
    const { birth } = await prepare(stage.willow, userId, { sessionId: userId });
    await stage.voice.say(birth.topic, withEpoch(birth, 1));
    const { sessions } = await stage.willow.presenceWhen(userId, ({ status }) => status === 'online');
    expect(sessions[0]?.sessionId).toBe(userId);
  }
});
