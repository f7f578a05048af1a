import fc from 'fast-check';
import { expect, test } from 'vitest';
import { escapedBytes, escapedText } from '../../src/http/escaped.ts';

/** The bytes that an escaped text stands for. */
function bytesOf(escaped: string): Buffer {
  const parts = escaped.match(/\\x[\da-f]{2}|\\u\{[\da-f]+\}|\\u[\da-f]{4}|\\\\|[^\\]+/gu) ?? [];
  expect(parts.join('')).toBe(escaped);
  return Buffer.concat(
    parts.map((part) => {
      if (part.startsWith('\\x')) return Buffer.from(part.slice(2), 'hex');
      if (part === '\\\\') return Buffer.from('\\');
      if (!part.startsWith('\\u')) return Buffer.from(part);
      return Buffer.from(String.fromCodePoint(Number.parseInt(part.replaceAll(/[\\u{}]/g, ''), 16)));
    }),
  );
}

const harmless = /^[^\p{C}\p{DI}\p{Zl}\p{Zp}]*$/u;
const someBytes = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.string({ unit: 'binary', maxLength: 32 }).map((text) => new Uint8Array(Buffer.from(text))),
  // Text that is cut in the middle of a character, or has a byte changed.
  fc
    .tuple(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 16 }), fc.nat(), fc.nat(255))
    .map(([text, at, byte]) => {
      const bytes = new Uint8Array(Buffer.from(text));
      bytes[at % bytes.length] = byte;
      return bytes.subarray(0, 1 + (byte % bytes.length));
    }),
);

test('any bytes become a text that shows every one of them, and hides and turns nothing', () => {
  fc.assert(
    fc.property(someBytes, (bytes) => {
      const escaped = escapedBytes(bytes);
      expect(escaped).toMatch(harmless);
      expect(bytesOf(escaped)).toEqual(Buffer.from(bytes));
    }),
    { numRuns: 5_000 },
  );
});

test('text that can be read is left as it is', () => {
  for (const text of ['', '{"userId":"42","device":{"os":"ios"}}', 'Zoë 東京 🦊 عمر', '<b>"&amp;\'']) {
    expect(escapedBytes(Buffer.from(text))).toBe(text);
    expect(escapedText(text)).toBe(text);
  }
});

const hidden: Readonly<Record<string, string>> = {
  'a line feed': '\n',
  'an escape of a terminal': '\u001b',
  'a control of the second set': '\u0085',
  'a turn of the direction': '\u202e',
  'an isolate': '\u2066',
  'a zero width space': '\u200b',
  'a soft hyphen': '\u00ad',
  'a byte order mark': '\ufeff',
  'a no-break space': '\u00a0',
  'a line separator': '\u2028',
  'a Hangul filler': '\u3164',
  'a blank of Braille': '\u2800',
  'a tag': '\u{e0041}',
  'a variation selector': '\ufe0f',
  'a character for private use': '\ue000',
};

test.each(Object.entries(hidden))('%s is written as what it is', (_name, character) => {
  const code = character.codePointAt(0)?.toString(16) ?? '';
  expect(escapedText(`a${character}b`)).toBe(code.length > 4 ? `a\\u{${code}}b` : `a\\u${code.padStart(4, '0')}b`);
});
