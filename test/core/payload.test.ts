import { describe, expect, test } from 'vitest';
import { parsePayload, payloadBytesMax } from '../../src/core/payload.ts';

const pointers = { userId: ['userId'], sessionId: ['sessionId'], epoch: ['epoch'] };
const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => parsePayload(bytes(text), pointers);
const userOf = (text: string) => {
  const parsed = parse(text);
  return parsed.kind === 'fields' ? parsed.fields.userId : parsed.reason;
};

describe('the five forms of a payload, in order of trial', () => {
  test.each(['', ' ', '\t\r\n\v\f '])('nothing but white space is an empty payload: %j', (text) => {
    expect(parse(text)).toEqual({ kind: 'fields', fields: {} });
  });

  test('a JSON object is read by its fields', () => {
    expect(
      parse('{"userId":"a","sessionId":"s","clientId":"c","epoch":7,"reason":"logout","device":{"os":"x"},"else":1}'),
    ).toEqual({
      kind: 'fields',
      fields: { userId: 'a', sessionId: 's', clientId: 'c', epoch: 7, reason: 'logout', device: { os: 'x' } },
    });
  });

  test.each([
    ['"42"', '42'],
    ['"al ice"', 'al ice'],
    ['"{42}"', '{42}'],
    ['"\\u00e9"', 'é'],
  ])('a JSON text is that user: %s', (text, userId) => {
    expect(userOf(text)).toBe(userId);
  });

  test.each([
    ['{42}', '42'],
    ['{alice@example.com}', 'alice@example.com'],
    ['{true}', 'true'],
    ['{a[0]}', 'a[0]'],
    ['{🦉}', '🦉'],
  ])('braces around an id are the literal form of the origin: %s', (text, userId) => {
    expect(userOf(text)).toBe(userId);
  });

  test.each([
    '{',
    '{ 42 }',
    '{4 2}',
    '{4:2}',
    '{4,2}',
    '{{42}}',
    '{"42"}',
    "{'42'}",
    '{42',
    '{42}}',
    '{42}{43}',
    '{\u00a042}',
    '[42',
    '"42',
    '"a" "b"',
  ])('what begins like JSON and is neither JSON nor the literal form is refused: %s', (text) => {
    expect(userOf(text)).toBe('not-json');
  });

  test.each(['[]', '[42]', '["42"]', '[{"userId":"a"}]'])('JSON of another shape is refused: %s', (text) => {
    expect(userOf(text)).toBe('bad-shape');
  });

  test.each([
    '42',
    'alice@example.com',
    '-0',
    '1.0',
    '1e3',
    '9007199254740993',
    'true',
    'null',
    'undefined',
    '__proto__',
    'a{b}',
    '}{',
    "'42'",
    'x"y',
    '9'.repeat(300),
  ])('any other text without white space is that user, exactly as written: %s', (text) => {
    expect(userOf(text)).toBe(text);
  });

  test.each(['4 2', 'a\tb', 'a\nb', 'a\u00a0b', 'a\u2028b', '\u00a042', 'a\ufeffb'])(
    'a bare id has no white space in it: %j',
    (text) => {
      expect(userOf(text)).toBe('bad-shape');
    },
  );

  test.each([
    [' 42\n', '42'],
    ['\t{42}\r\n', '42'],
    [' "42" ', '42'],
    ['\v\f{"userId":"42"}\f', '42'],
  ])('ASCII white space around a payload is trimmed: %j', (text, userId) => {
    expect(userOf(text)).toBe(userId);
  });
});

describe('numbers are ids exactly as written', () => {
  test.each(['9007199254740993', '1.0', '1e3', '1E+3', '-0', '0.10', '1e400', '9'.repeat(300)])('%s', (number) => {
    const parsed = parse(`{"userId":${number},"sessionId":${number},"clientId":${number}}`);
    expect(parsed).toMatchObject({ fields: { userId: number, sessionId: number, clientId: number } });
  });

  test('beside them texts stay texts, and the epoch stays a number', () => {
    expect(parse('{"userId":7,"sessionId":"1.0","epoch":1.0,"device":{"n":1.0}}')).toMatchObject({
      fields: { userId: '7', sessionId: '1.0', epoch: 1, device: { n: 1 } },
    });
  });

  test('of a key written twice the last one counts, in both readings', () => {
    expect(userOf('{"userId":1,"userId":"two"}')).toBe('two');
    expect(userOf('{"userId":"one","userId":2.0}')).toBe('2.0');
  });
});

describe('pointers for clients that already send something else', () => {
  const elsewhere = { userId: ['user', 'id'], sessionId: ['dev', '0'], epoch: ['meta', 'connectedAt'] };
  const read = (text: string) => parsePayload(bytes(text), elsewhere);

  test('name where user, session and epoch are', () => {
    expect(read('{"user":{"id":12345678901234567890},"dev":["phone"],"meta":{"connectedAt":5},"userId":"no"}')).toEqual(
      {
        kind: 'fields',
        fields: { userId: '12345678901234567890', sessionId: 'phone', epoch: 5 },
      },
    );
  });

  test('do not reach what is inherited', () => {
    const inherited = { userId: ['__proto__', 'constructor', 'name'], sessionId: ['constructor'], epoch: ['valueOf'] };
    expect(parsePayload(bytes('{"a":1}'), inherited)).toEqual({ kind: 'fields', fields: {} });
  });

  test('may name __proto__ as a key of the payload, which changes no prototype', () => {
    const named = { ...pointers, userId: ['__proto__', 'id'] };
    expect(parsePayload(bytes('{"__proto__":{"id":7,"polluted":true}}'), named)).toMatchObject({
      fields: { userId: '7' },
    });
    expect('polluted' in {}).toBe(false);
  });
});

describe('limits of a payload', () => {
  test('4096 bytes are read, 4097 are refused, whatever they hold', () => {
    const full = `{"userId":"a","x":"${'x'.repeat(payloadBytesMax - 21)}"}`;
    expect(bytes(full)).toHaveLength(4096);
    expect(userOf(full)).toBe('a');
    expect(userOf(`${full} `)).toBe('payload-too-large');
    expect(userOf(' '.repeat(4097))).toBe('payload-too-large');
  });

  test('the limit counts bytes, not characters', () => {
    expect(userOf('é'.repeat(2048))).toBe('é'.repeat(2048));
    expect(userOf('é'.repeat(2049))).toBe('payload-too-large');
  });

  test.each([[[0xff]], [[0xc3, 0x28]], [[0xed, 0xa0, 0x80]], [[0xc0, 0x80]], [[0x34, 0x32, 0xf0, 0x9f]]])(
    'bytes that are not UTF-8 are refused: %j',
    (raw) => {
      expect(parsePayload(Uint8Array.from(raw), pointers)).toMatchObject({ kind: 'refused', reason: 'not-utf8' });
    },
  );

  test('a byte order mark is no part of the text', () => {
    expect(userOf('\ufeff42')).toBe('42');
  });

  test('JSON 2,000 levels deep is read without harm', () => {
    const deep = `${'['.repeat(2000)}${']'.repeat(2000)}`;
    expect(userOf(deep)).toBe('bad-shape');
    expect(userOf(`{"userId":7,"x":${deep}}`)).toBe('7');
  });
});
