import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createSealing, SealError } from '../../src/runtime/sealing.ts';
import { keysOf, newKey } from '../../src/runtime/secret-key.ts';

const [older, newer, other] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [Buffer, Buffer, Buffer];
const secret = Buffer.from('the secret of an endpoint, 32 by');

describe('a sealed secret', () => {
  test('is opened by the key that sealed it, in its context, and shows nothing of what it holds', () => {
    const sealing = createSealing([newer]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (bytes, context) => {
        const sealed = sealing.seal(bytes, context);
        expect(sealing.open(sealed, context)).toEqual(Buffer.from(bytes));
        if (bytes.length > 4) expect(sealed.includes(Buffer.from(bytes))).toBe(false);
      }),
    );
  });

  test('is never sealed twice alike', () => {
    const sealing = createSealing([newer]);
    const all = Array.from({ length: 100 }, () => sealing.seal(secret, 'whe_1').toString('hex'));
    expect(new Set(all).size).toBe(100);
  });

  test('of an older key is opened beside a newer one, which seals from then on', () => {
    const sealed = createSealing([older]).seal(secret, 'whe_1');
    const both = createSealing([newer, older]);
    expect(both.open(sealed, 'whe_1')).toEqual(secret);
    expect(both.isNewest(sealed)).toBe(false);
    const resealed = both.seal(secret, 'whe_1');
    expect(both.isNewest(resealed)).toBe(true);
    expect(createSealing([newer]).open(resealed, 'whe_1')).toEqual(secret);
  });

  test('of a key that is not there says so, and which secret it is', () => {
    const sealed = createSealing([older]).seal(secret, 'whe_1');
    expect(() => createSealing([newer, other]).open(sealed, 'whe_1')).toThrow(
      new SealError('the secret of whe_1 was sealed with a key that SECRET_KEY does not have (any more)'),
    );
  });

  test('does not open for another endpoint', () => {
    const sealing = createSealing([newer]);
    expect(() => sealing.open(sealing.seal(secret, 'whe_1'), 'whe_2')).toThrow(SealError);
  });

  test('does not open when any of its bits is another, or when a part is missing', () => {
    const sealing = createSealing([newer, older]);
    const sealed = sealing.seal(secret, 'whe_1');
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const damaged = Buffer.from(sealed);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => sealing.open(damaged, 'whe_1')).toThrow(SealError);
    }
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => sealing.open(sealed.subarray(0, length), 'whe_1')).toThrow(SealError);
    }
  });
});

test('a new key is one that is read again, and never the same', () => {
  const keys = Array.from({ length: 100 }, newKey);
  expect(new Set(keys).size).toBe(100);
  for (const key of keys) expect(keysOf(key)?.map((one) => one.length)).toEqual([32]);
});
