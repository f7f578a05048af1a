import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { QuarantineReason } from '../../src/core/signal.ts';
import { announcedWhen, countedWhen, openStage, type Stage, settled } from '../support/stage.ts';

const dayMs = 86_400_000;

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '0' });
});

afterAll(() => stage[Symbol.asyncDispose]());

type Bad = readonly [name: string, reason: QuarantineReason, topic: string, payload: string | Uint8Array | object];

const long = 'x'.repeat(257);
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const user = { userId: 'somebody' };

const bad: readonly Bad[] = [
  ['bytes that are no UTF-8', 'not-utf8', '/logout', Uint8Array.of(0xff, 0xfe, 0x80)],
  ['UTF-8 that is cut in the middle', 'not-utf8', '/login', Uint8Array.of(0x61, 0xe2, 0x82)],
  ['a surrogate in UTF-8', 'not-utf8', '/logout', Uint8Array.of(0xed, 0xa0, 0x80)],
  ['256 KiB', 'payload-too-large', '/logout', new Uint8Array(256 * 1024).fill(0x61)],
  ['one byte more than 4 KiB', 'payload-too-large', '/logout', ' '.repeat(4097)],
  ['JSON of depth 10,000', 'payload-too-large', '/logout', `{"userId":"deep","x":${nested(10_000)}}`],
  ['an array of depth 2,000', 'bad-shape', '/logout', nested(2_000)],
  ['a device of depth 2,000', 'bad-device', '/login', `{"userId":"deep","device":{"x":${nested(2_000)}}}`],
  ['JSON that is cut in the middle', 'not-json', '/logout', '{"userId": "ann'],
  ['a JSON text that does not end', 'not-json', '/logout', '"ann'],
  ['two ids', 'bad-shape', '/logout', 'ann bob'],
  ['no user at all', 'no-user-id', '/logout', ''],
  ['an object without a user', 'no-user-id', '/logout', {}],
  ['a user in the prototype', 'no-user-id', '/logout', '{"__proto__":{"userId":"ann"}}'],
  ['a user that is an object', 'bad-user-id', '/logout', { userId: { $ne: null } }],
  ['a user that is true', 'bad-user-id', '/logout', { userId: true }],
  ['an empty user', 'bad-user-id', '/logout', { userId: '' }],
  ['an empty level of the topic', 'bad-user-id', '/logout/', ''],
  ['a user of 257 characters', 'bad-user-id', '/logout', long],
  ['a user of 257 characters in the topic', 'bad-user-id', `/logout/${long}`, ''],
  ['U+0000 as a user', 'bad-user-id', '/logout', '\0'],
  ['U+0000 in a user', 'bad-user-id', '/logout', { userId: 'an\0n' }],
  ['a lone surrogate in a user', 'bad-user-id', '/logout', '{"userId":"\\ud800"}'],
  ['a percent-encoded U+0000', 'bad-user-id', '/logout/%00', ''],
  ['a percent sign before what is no number', 'bad-topic', '/logout/%zz', ''],
  ['percent-encoded bytes that are no UTF-8', 'bad-topic', '/logout/ann/%ff', ''],
  ['too many levels', 'unknown-topic', '/logout/a/b/c', ''],
  ['a session of 257 characters', 'bad-session-id', '/login', { ...user, sessionId: long }],
  ['a session that is a list', 'bad-session-id', '/login', { ...user, sessionId: ['phone'] }],
  ['a client id of 257 characters', 'bad-client-id', '/login', { ...user, clientId: long }],
  ['an epoch below 0', 'bad-epoch', '/login', { ...user, epoch: -1 }],
  ['an epoch with a fraction', 'bad-epoch', '/login', { ...user, epoch: 1.5 }],
  ['an epoch of 2^53', 'bad-epoch', '/login', { ...user, epoch: 2 ** 53 }],
  ['an epoch beyond all numbers', 'bad-epoch', '/login', '{"userId":"ann","epoch":1e999}'],
  ['an epoch that is a text', 'bad-epoch', '/login', { ...user, epoch: '7' }],
  ['an epoch two days ahead', 'epoch-ahead', '/login', { ...user, epoch: Date.now() + 2 * dayMs }],
  ['an epoch of 2^53 - 1', 'epoch-ahead', '/login', { ...user, epoch: Number.MAX_SAFE_INTEGER }],
  ['a reason of its own', 'bad-reason', '/logout', { ...user, reason: 'crash' }],
  ['a device that is a text', 'bad-device', '/login', { ...user, device: 'phone' }],
  ['a device of more than 1 KiB', 'bad-device', '/login', { ...user, device: { name: 'x'.repeat(1024) } }],
  ['a lone surrogate in a device', 'bad-device', '/login', '{"userId":"ann","device":{"name":"\\udfff"}}'],
  ['U+0000 in a name of a device', 'bad-device', '/login', '{"userId":"ann","device":{"a\\u0000":1}}'],
  ['a user who is not that of the topic', 'identity-mismatch', '/logout/ann', 'bob'],
  ['a session that is not that of the topic', 'identity-mismatch', '/login/ann/phone', { sessionId: 'tablet' }],
];

type Row = { readonly reason: string; readonly payload_bytes: number; readonly kept: number };

async function newest(): Promise<Row & { readonly id: number }> {
  const { rows } = await stage.database.pool.query<Row & { id: number }>(
    'select id::int, reason, payload_bytes, length(payload) as kept from quarantine order by id desc limit 1',
  );
  return rows[0] ?? { id: 0, reason: 'none', payload_bytes: 0, kept: 0 };
}

describe('goes to the quarantine with its reason, and what is said behind it is heard', () => {
  test.each(bad)('%s: %s', async (_name, reason, topic, payload) => {
    const { willow, voice } = stage;
    const { id } = await newest();
    const said = voice.say(topic, payload);
    await settled(willow, voice);
    await said;
    const row = await newest();
    expect(row).toMatchObject({ id: id + 1, reason });
    expect(row.kept).toBe(Math.min(row.payload_bytes, 1_024));
  });

  test('the 256 KiB are kept cut, with their size', async () => {
    const { rows } = await stage.database.pool.query<Row>(
      'select reason, payload_bytes, length(payload) as kept from quarantine where payload_bytes > 200000',
    );
    expect(rows).toEqual([{ reason: 'payload-too-large', payload_bytes: 256 * 1024, kept: 1_024 }]);
  });
});

describe('looks bad and is none', () => {
  const emoji = '🦊'.repeat(256);
  const digits = '9007199254740993000000000000000000000000007';
  const good: readonly (readonly [name: string, userId: string, topic: string, payload: string | object])[] = [
    ['a user of 256 characters', 'y'.repeat(256), '/logout', 'y'.repeat(256)],
    ['a user of 256 emoji in the topic', emoji, `/logout/${encodeURIComponent(emoji)}`, ''],
    ['a number beyond 2^53', digits, '/logout', `{"userId":${digits}}`],
    ['a bare number beyond 2^53', `${digits}1`, '/logout', `${digits}1`],
    ['a user with the name of a property', '__proto__', '/logout', '__proto__'],
    ['a user with the name of a method', 'constructor', '/logout', { userId: 'constructor', device: { toString: 1 } }],
    ['depth 2,000 where nobody looks', 'deep', '/logout', `{"userId":"deep","x":${nested(2_000)}}`],
    ['an epoch a moment ahead', 'early', '/logout', { userId: 'early', epoch: Date.now() + dayMs / 2 }],
    ['SQL', `'; drop table users; --`, '/logout', { userId: `'; drop table users; --` }],
    ['a device that says what a refusal says', 'liar', '/logout', { userId: 'liar', device: { kind: 'refused' } }],
    ['a user nobody knows', 'unknown', '/logout/unknown', ''],
  ];

  test.each(good)('%s', async (_name, userId, topic, payload) => {
    await stage.voice.say(topic, payload);
    const events = await announcedWhen(stage.willow, userId, 2);
    expect(events.map((event) => event.split(' ')[0])).toEqual(['session.ended', 'user.offline']);
    expect((await stage.willow.presence(userId)).userId).toBe(userId);
  });
});

test('every message ended in exactly one outcome, and all of them are counted (I10)', async () => {
  const { willow, voice } = stage;
  const { rows } = await stage.database.pool.query<{ reason: string; count: number }>(
    'select reason, count(*)::int from quarantine group by reason',
  );
  for (const { reason, count } of rows) {
    expect([reason, await countedWhen(willow, 'willow_quarantined_total', { reason }, count)]).toEqual([reason, count]);
  }
  expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(bad.length);
  const messages = await countedWhen(willow, 'willow_messages_total', {}, voice.said());
  expect(messages).toBe(voice.said());
  const understood = await willow.metric('willow_signals_total');
  expect(understood + (await willow.metric('willow_quarantined_total'))).toBe(messages);
});
