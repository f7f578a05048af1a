// Requests that are made of a route's own schemas and then spoiled in every way that bytes allow, and what must be true of any answer.

import fc, { type Arbitrary } from 'fast-check';
import { methods, oddBodies, oddHeaders, oddPieces, oddTexts, oddValues } from './oddities.ts';
import type { Route } from './route-table.ts';
import { namesOf, valuesOf } from './schema-arbitrary.ts';

export type FuzzRequest = {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | null;
  readonly framing: 'length' | 'chunked' | 'cut off';
};

export type FuzzWorld = {
  /** Ids and texts that mean something to the server, beside those that mean something to anybody. */
  readonly words: readonly string[];
  readonly apiKey: string;
};

/** A request for the route: complete, spoiled in one place or in several, or asked for by another method. */
export function requestsFor(route: Route, world: FuzzWorld): Arbitrary<FuzzRequest> {
  const words = [...world.words, ...oddTexts];
  const authorization = ['Authorization', `Bearer ${world.apiKey}`] as const;
  const keyed = { weight: 19, arbitrary: fc.constant([authorization]) };
  const key = fc.oneof(keyed, { weight: 1, arbitrary: fc.constant([]) });
  const type = fc.oneof(
    { weight: 9, arbitrary: fc.constant([['Content-Type', 'application/json'] as const]) },
    fc.constant([]),
  );
  const odd = fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    fc.array(fc.constantFrom(...oddHeaders), { maxLength: 3 }),
  );
  const rightMethod = { weight: 12, arbitrary: fc.constant(route.method) };
  const framing = fc.oneof(
    { weight: 12, arbitrary: fc.constant('length' as const) },
    fc.constantFrom('chunked' as const, 'cut off' as const),
  );
  return fc
    .record({
      method: fc.oneof(rightMethod, fc.constantFrom(...methods)),
      target: targets(route, words),
      key,
      type,
      odd,
      body: bodies(route, words),
      framing,
    })
    .map(({ method, target, key: keyHeader, type: typeHeader, odd: oddHeader, body, framing: framed }) => ({
      method,
      target,
      headers: [['Host', 'localhost'] as const, ...keyHeader, ...(body === null ? [] : typeHeader), ...oddHeader],
      body,
      framing: framed,
    }));
}

function targets(route: Route, words: readonly string[]): Arbitrary<string> {
  const { params, querystring } = route.schema;
  const given = params === undefined ? fc.constant({}) : valuesOf(params, words);
  const piece = fc.oneof(fc.constantFrom(...oddPieces), fc.constantFrom(...words).map(encoded));
  const path = fc
    .tuple(given, fc.array(piece, { minLength: 3, maxLength: 3 }), fc.nat(7))
    .map(([values, odd, which]) => {
      const known = values as Readonly<Record<string, string | number | undefined>>;
      let place = 0;
      return route.url.replaceAll(/:(\w+)/gu, (_whole, name: string) => {
        place += 1;
        const spoiled = odd[place - 1] ?? '';
        return which === place ? spoiled : encoded(String(known[name] ?? spoiled));
      });
    });
  const name = fc.constantFrom(
    ...(querystring === undefined ? [] : namesOf(querystring)),
    'limit',
    'cursor',
    'after',
    '__proto__',
    'a[b]',
    '',
  );
  const pair = fc.tuple(name, piece).map(([left, right]) => `${left}=${right}`);
  const query = fc.oneof(
    { weight: 4, arbitrary: fc.constant('') },
    { weight: 3, arbitrary: querystring === undefined ? fc.constant('') : valuesOf(querystring, words).map(queryOf) },
    fc.array(fc.oneof(pair, piece), { minLength: 1, maxLength: 4 }).map((pairs) => `?${pairs.join('&')}`),
  );
  const suffix = fc.oneof(
    { weight: 15, arbitrary: fc.constant('') },
    fc.constantFrom('/', '//', '/..', '%', '?', '#x', ';x', '/x'),
  );
  return fc.tuple(path, suffix, query).map((parts) => parts.join(''));
}

function queryOf(values: unknown): string {
  const pairs = Object.entries(values as Readonly<Record<string, unknown>>).filter(([, value]) => value !== undefined);
  return pairs.length === 0 ? '' : `?${pairs.map(([name, value]) => `${name}=${encoded(String(value))}`).join('&')}`;
}

/** Lone surrogates too, which the standard function throws at. */
function encoded(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      /[\w.~-]/.test(String.fromCharCode(byte)) && byte < 128
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).padStart(2, '0')}`,
    )
    .join('');
}

function bodies(route: Route, words: readonly string[]): Arbitrary<Buffer | null> {
  const { body } = route.schema;
  const none = fc.constant(null);
  const odd = fc.oneof(
    fc.constantFrom(...oddBodies).map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.json({ maxDepth: 4 }).map((text) => Buffer.from(text)),
  );
  if (body === undefined) return fc.oneof({ weight: 9, arbitrary: none }, odd);
  const good = valuesOf(body, words);
  const spoiled = fc
    .tuple(
      good,
      fc.nat(),
      fc.oneof(fc.constantFrom(...oddValues), fc.jsonValue()),
      fc.constantFrom('instead', 'besides', 'without'),
    )
    .map(([value, place, other, how]) => spoil(value, place, other, how));
  const written = fc
    .oneof({ weight: 3, arbitrary: good }, { weight: 4, arbitrary: spoiled })
    .map((value) => Buffer.from(JSON.stringify(value) ?? ''));
  return fc.oneof({ weight: 8, arbitrary: written }, { weight: 2, arbitrary: odd }, none);
}

function spoil(value: unknown, place: number, other: unknown, how: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return other;
  const names = Object.keys(value);
  const name = names[place % Math.max(1, names.length)] ?? 'name';
  const { [name]: _gone, ...rest } = value as Readonly<Record<string, unknown>>;
  if (how === 'without') return rest;
  return how === 'instead' ? { ...rest, [name]: other } : { ...value, [`${name}x`]: other };
}

/** As bytes; one that is cut off announces more than it says. */
export function bytesOf({ method, target, headers, body, framing }: FuzzRequest): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = `${method} ${target.startsWith('/') ? target : `/${target}`} HTTP/1.1\r\n${lines}`;
  const latin1 = (text: string) => Buffer.from(text, 'latin1');
  if (body === null) return latin1(`${head}\r\n`);
  if (framing === 'chunked') {
    const chunk = body.length === 0 ? [] : [latin1(`${body.length.toString(16)}\r\n`), body, latin1('\r\n')];
    return Buffer.concat([latin1(`${head}Transfer-Encoding: chunked\r\n\r\n`), ...chunk, latin1('0\r\n\r\n')]);
  }
  const length = framing === 'cut off' ? body.length + 10 : body.length;
  return Buffer.concat([latin1(`${head}Content-Length: ${length}\r\n\r\n`), body]);
}
