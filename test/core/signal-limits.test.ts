import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { epochAheadMsMax, parseMessage, quarantineReasons, whyNoDevice } from '../../src/core/signal.ts';
import { holdFor } from './hold-for.ts';
import { nowMs, parse, verdictOn, wire } from './wire.ts';

describe('ids', () => {
  const fields = { userId: 'bad-user-id', sessionId: 'bad-session-id', clientId: 'bad-client-id' } as const;
  for (const [field, reason] of Object.entries(fields)) {
    const verdict = (id: unknown) => verdictOn('/logout', { userId: 'a', [field]: id });

    test.each(['a', 'x'.repeat(256), '🦉'.repeat(256), 'é'.repeat(256), ' ', 'a b', '__proto__', 'default', '\u2028'])(
      `${field} may be %j`,
      (id) => {
        expect(verdict(id)).toBe('will');
      },
    );

    test.each([
      '',
      'x'.repeat(257),
      '🦉'.repeat(257),
      `${'🦉'.repeat(256)}x`,
      'a\u0000',
      'a\nb',
      '\u007f',
      '\u0085',
      '\ud800',
      'a\udc00b',
      true,
      [],
      {},
      ['a'],
    ])(`${field} may not be %j`, (id) => {
      expect(verdict(id)).toBe(reason);
    });
  }

  test('numbers of up to 256 digits are ids, longer ones are not', () => {
    expect(parse('/logout', `{"userId":${'9'.repeat(256)}}`)).toMatchObject({ userId: '9'.repeat(256) });
    expect(verdictOn('/logout', `{"userId":${'9'.repeat(300)}}`)).toBe('bad-user-id');
  });

  test('a bare id, the literal form and a topic obey the same limits', () => {
    expect(verdictOn('/logout', '9'.repeat(256))).toBe('will');
    expect(verdictOn('/logout', '9'.repeat(257))).toBe('bad-user-id');
    expect(verdictOn('/logout', `{${'x'.repeat(257)}}`)).toBe('bad-user-id');
    expect(verdictOn('/logout', '42\u0000')).toBe('bad-user-id');
    expect(verdictOn(`/logout/${'x'.repeat(257)}`)).toBe('bad-user-id');
    expect(verdictOn('/logout/')).toBe('bad-user-id');
    expect(verdictOn('/logout/42/')).toBe('bad-session-id');
    expect(verdictOn('/logout/%00')).toBe('bad-user-id');
    expect(verdictOn('/logout/a%00b')).toBe('bad-user-id');
    expect(verdictOn('/logout/42/%00')).toBe('bad-session-id');
    expect(verdictOn('/logout/42/%0A')).toBe('bad-session-id');
    expect(verdictOn(`/logout/${'%F0%9F%A6%89'.repeat(256)}`)).toBe('will');
  });

  test('__proto__ is a user, a session and a key like any other', () => {
    expect(parse('/logout', '{"userId":"__proto__","sessionId":"__proto__","epoch":1}')).toMatchObject({
      userId: '__proto__',
      sessionId: '__proto__',
    });
    expect(verdictOn('/logout', '{"__proto__":{"userId":"a"}}')).toBe('no-user-id');
    expect(parse('/login/__proto__')).toMatchObject({ userId: '__proto__' });
  });
});

describe('epochs', () => {
  const verdict = (epoch: string) => verdictOn('/login', `{"userId":"a","epoch":${epoch}}`);

  test.each(['0', '1', '1.0', '1e3', '999999999999', `${nowMs}`, `${nowMs + epochAheadMsMax}`])(
    '%s is one',
    (epoch) => {
      expect(verdict(epoch)).toBe('login');
      expect(parse('/login', `{"userId":"a","epoch":${epoch}}`)).toMatchObject({ epoch: Number(epoch) });
    },
  );

  test.each([
    '-1',
    '0.5',
    '1.5',
    '1e400',
    '-1e400',
    '9007199254740992',
    '9007199254740993',
    '"1"',
    '""',
    'true',
    '[1]',
    '{}',
  ])('%s is none', (epoch) => {
    expect(verdict(epoch)).toBe('bad-epoch');
  });

  test('a time may be 24 h ahead, and not a millisecond more', () => {
    expect(verdict(`${nowMs + 86_400_000 - 1}`)).toBe('login');
    expect(verdict(`${nowMs + 86_400_000}`)).toBe('login');
    expect(verdict(`${nowMs + 86_400_000 + 1}`)).toBe('epoch-ahead');
    expect(verdict('9007199254740991')).toBe('epoch-ahead');
  });

  test('below 10^12 an epoch is a counter, which no clock bounds', () => {
    const atOne = (epoch: number) =>
      parseMessage('/login', new TextEncoder().encode(`{"userId":"a","epoch":${epoch}}`), wire, 1).kind;
    expect(atOne(999_999_999_999)).toBe('login');
    expect(atOne(1_000_000_000_000)).toBe('refused');
  });

  test('a will is bound by the same limits as a birth', () => {
    expect(verdictOn('/logout', { userId: 'a', epoch: nowMs + 86_400_001 })).toBe('epoch-ahead');
    expect(verdictOn('/logout', { userId: 'a', epoch: -1 })).toBe('bad-epoch');
  });
});

describe('devices', () => {
  const verdict = (device: unknown) => verdictOn('/login', { userId: 'a', device });
  const ofBytes = (count: number) => ({ os: 'x'.repeat(count - '{"os":""}'.length) });

  test('an object of up to 1024 bytes of JSON is one', () => {
    expect(verdict({})).toBe('login');
    expect(verdict(ofBytes(1024))).toBe('login');
    expect(verdict(ofBytes(1025))).toBe('bad-device');
    expect(verdict({ os: 'é'.repeat(507) })).toBe('login');
    expect(verdict({ os: 'é'.repeat(508) })).toBe('bad-device');
  });

  test('one that is nested deeper than it could be written is too large', () => {
    const deep: unknown = JSON.parse(`{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`);
    expect(whyNoDevice(deep)).toBe('a device is at most 1024 bytes of JSON');
  });

  test.each(['x', 1, true, [], [{}]])('%j is none', (device) => {
    expect(verdict(device)).toBe('bad-device');
  });

  test.each([
    { os: '\u0000' },
    { '\u0000': 'x' },
    { a: { b: [{ c: ['ok', 'x\u0000'] }] } },
    { a: [{ '\u0000b': 1 }] },
    { os: '\ud800' },
    { '\udfff': 1 },
    { a: [[['\udc00\ud800']]] },
    { os: 'line\nbreak' },
  ])('a text or a key that PostgreSQL or a log cannot keep is refused at any depth: %j', (device) => {
    expect(verdict(device)).toBe('bad-device');
  });

  test('numbers, truth values, null and __proto__ are kept as they are', () => {
    expect(parse('/login', '{"userId":"a","device":{"n":1.5,"t":true,"z":null,"__proto__":{"x":1}}}')).toMatchObject({
      device: JSON.parse('{"n":1.5,"t":true,"z":null,"__proto__":{"x":1}}') as object,
    });
  });

  test('a device as deep as a payload allows is refused, not a crash', () => {
    const deep = `${'['.repeat(2000)}${']'.repeat(2000)}`;
    expect(verdictOn('/login', `{"userId":"a","device":{"x":${deep}}}`)).toBe('bad-device');
    expect(verdictOn('/login', `{"userId":7,"device":{"x":${'['.repeat(500)}${']'.repeat(500)}}}`)).toBe('login');
    expect(verdictOn('/login', `{"userId":"a","epoch":${deep}}`)).toBe('bad-epoch');
    expect(verdictOn('/login', `{"userId":${deep}}`)).toBe('bad-user-id');
  });
});

describe('whatever comes, parsing answers and never throws', () => {
  const id = fc.oneof(
    fc.constantFrom('42', '__proto__', '', '\u0000', '🦉'),
    fc.string({ unit: 'binary', maxLength: 8 }),
  );
  const level = fc.oneof(id, id.map(encodeURIComponentOr), fc.constantFrom('%', '%ff', '%00'));
  const topic = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc
      .tuple(fc.constantFrom('/login', '/logout'), fc.array(level, { maxLength: 3 }))
      .map(([root, rest]) => [root, ...rest].join('/')),
  );
  const value = fc.oneof(id, fc.jsonValue({ maxDepth: 3 }), fc.double(), fc.constantFrom('will', 'logout'));
  const keys = ['userId', 'sessionId', 'clientId', 'epoch', 'reason', 'device', '__proto__'];
  const object = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 7 }).map((fields) => JSON.stringify(fields));
  const text = fc.oneof(
    object,
    object.map((json) => json.slice(0, -1)),
    id,
    id.map((inner) => `{${inner}}`),
    fc.json(),
  );
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    text.map((said) => new TextEncoder().encode(said)),
  );

  test('arbitrary topics and bytes give a signal, or a reason of the closed list with a sentence', () => {
    holdFor(
      fc.property(topic, payload, (someTopic, somePayload) => {
        const parsed = parseMessage(someTopic, somePayload, wire, nowMs);
        if (parsed.kind === 'refused') {
          expect(quarantineReasons).toContain(parsed.reason);
          expect(parsed.detail).toMatch(/^\p{Lowercase}.* .*[^.]$/u);
          return;
        }
        const { userId, sessionId, clientId, epoch } = parsed;
        for (const name of [userId, sessionId, clientId]) {
          if (name === null) continue;
          expect(name.isWellFormed() && !/\p{Cc}/u.test(name)).toBe(true);
          expect(Array.from(name).length).toBeLessThanOrEqual(256);
          expect(name).not.toBe('');
        }
        expect(epoch === null || (Number.isSafeInteger(epoch) && epoch >= 0)).toBe(true);
        if (parsed.kind === 'login') expect(sessionId).not.toBeNull();
      }),
      2_000,
    );
  });
});

function encodeURIComponentOr(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : text;
}
