import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserId } from '../../src/core/ids.ts';
import { bodyOf, json, pathOf } from './calls.ts';
import { expectProblem, ports, type Served, serve } from './serve.ts';

const seen: (string | null)[] = [];
let served: Served;
beforeAll(async () => {
  served = await serve({
    presence: (userId) => {
      seen.push(userId);
      return ports.presence(userId);
    },
    kick: async (userId, sessionId) => {
      seen.push(userId, sessionId);
      return 'done';
    },
  });
});
afterAll(() => served[Symbol.asyncDispose]());

const percent = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
const encode = (id: string): string => percent(Buffer.from(id));

const goodIds = [
  'ada',
  'a',
  '42',
  'alice@example.com',
  'a/b',
  '/',
  '%',
  '%2F',
  '%252F',
  '100%25',
  'a b',
  '+',
  'a+b',
  '?',
  'a?b=c',
  '#',
  ';',
  ':id',
  '*',
  '.',
  '..',
  '../..',
  'sessions',
  '__proto__',
  'constructor',
  'é',
  'e\u0301',
  '漢字',
  '👩‍👩‍👧',
  '\u{10FFFF}'.repeat(256),
  '"'.repeat(256),
  '/'.repeat(256),
  'x'.repeat(256),
];

test.each(goodIds)('the id %j arrives as it is', async (id) => {
  seen.length = 0;
  const upper = encode(id).toUpperCase();
  expect((await served.call({ path: `/users/${encode(id)}/presence` })).status).toBe(200);
  const answer = await served.call({ path: `/users/${upper}/presence` });
  expect(JSON.parse(answer.body)).toMatchObject({ userId: id });
  expect((await served.call({ method: 'DELETE', path: `/users/${upper}/sessions/${upper}` })).status).toBe(204);
  expect(seen).toEqual([id, id, id, id]);
});

const badIds: Record<string, [segment: string, detail: string]> = {
  nothing: ['', 'is empty'],
  '257 characters': ['x'.repeat(257), 'is longer than 256 characters'],
  '256 characters and a surrogate pair more': [`${'x'.repeat(256)}${encode('👍')}`, 'is longer than 256 characters'],
  'U+0000': ['%00', 'has a control character or a lone surrogate'],
  'U+0000 inside': ['a%00b', 'has a control character or a lone surrogate'],
  'a line feed': ['a%0Ab', 'has a control character or a lone surrogate'],
  'a C1 control': ['a%C2%85b', 'has a control character or a lone surrogate'],
  'a lone surrogate': ['%ED%A0%80', 'is not percent-encoded UTF-8'],
  'an overlong encoding': ['%C0%AF', 'is not percent-encoded UTF-8'],
  'half a character': ['%C3', 'is not percent-encoded UTF-8'],
  'no hexadecimal': ['%zz', 'is not percent-encoded UTF-8'],
  'a percent sign alone': ['%', 'is not percent-encoded UTF-8'],
  'a percent sign at the end': ['a%2', 'is not percent-encoded UTF-8'],
};

test.each(Object.entries(badIds))('%s as an id is 400, and names the parameter', async (_name, [segment, detail]) => {
  const user = expectProblem(await served.call({ path: `/users/${segment}/presence` }), 400, 'bad-input');
  expect(user.errors).toEqual([{ in: 'path', name: 'id', detail }]);
  expect(user.detail).toBe(`the path parameter id ${detail}`);
  const kick = { method: 'DELETE', path: `/users/ada/sessions/${segment}` };
  const session = expectProblem(await served.call(kick), 400, 'bad-input');
  expect(session.errors).toEqual([{ in: 'path', name: 'sessionId', detail }]);
});

test('what is wrong with two parameters is said of both', async () => {
  const both = expectProblem(
    await served.call({ method: 'DELETE', path: '/users/%00/sessions/%01' }),
    400,
    'bad-input',
  );
  expect(both.errors?.map(({ name }) => name)).toEqual(['id', 'sessionId']);
  const undecodable = await served.call({ method: 'DELETE', path: '/users/%zz/sessions/%ff' });
  expect(expectProblem(undecodable, 400, 'bad-input').errors?.map(({ name }) => name)).toEqual(['id', 'sessionId']);
});

test('a URL that cannot be decoded is 400 where there is no parameter to name', async () => {
  for (const path of ['/%zz', '/users/%zz', '/users/%zz/nothing', '/%ff/%ff']) {
    expectProblem(await served.call({ path }), 400, 'bad-request');
  }
});

const questions: readonly (readonly [query: string, names: readonly string[]])[] = [
  ['AT=0', ['AT']],
  ['before=0', ['before']],
  ['before', ['before']],
  ['%62efore=0', ['before']],
  ['after=0&after=1', ['after']],
  ['sessions=true', ['sessions']],
  ['__proto__=1', ['__proto__']],
  ['ats=0&status=online', ['ats', 'status']],
];

test.each(questions)(
  'a question that presence does not understand is 400 and named, never answered as another one: ?%s',
  async (query, names) => {
    seen.length = 0;
    const answer = await served.call({ path: `/users/ada/presence?${query}` });
    const { detail, errors } = expectProblem(answer, 400, 'bad-input');
    for (const name of names) expect(detail).toContain(`the query parameter ${name} is not known`);
    expect(errors).toEqual(names.map((name) => ({ in: 'query', name, detail: 'is not known' })));
    expect(seen).toEqual([]);
  },
);

test.each([
  ['GET', '/users/ada/events?after=3', 'after'],
  ['GET', '/users/ada/sessions?status=ended', 'status'],
  ['DELETE', '/users/ada/sessions?reason=bored', 'reason'],
  ['DELETE', '/users/ada/sessions/phone?force=1', 'force'],
] as const)('so it is everywhere: %s %s', async (method, path, name) => {
  seen.length = 0;
  const { errors } = expectProblem(await served.call({ method, path }), 400, 'bad-input');
  expect(errors).toEqual([{ in: 'query', name, detail: 'is not known' }]);
  expect(seen).toEqual([]);
});

test('no call of the API does anything when it is asked with something that it does not know', async () => {
  const lenient = /^\/(?:healthz|readyz|metrics|openapi\.json|docs)/u;
  const calls = served.routes.filter(({ url }) => !lenient.test(url));
  for (const route of calls) {
    const path = `${pathOf(route)}?dryRun=true`;
    const answer = await served.call({ method: route.method, path, headers: json, ...bodyOf(route) });
    expect(answer.status, `${route.method} ${path}`).toBe(400);
    if (route.method === 'HEAD') continue;
    expect(expectProblem(answer, 400, 'bad-input').errors?.map(({ name }) => name)).toEqual(['dryRun']);
  }
  expect(calls.length).toBeGreaterThan(40);
});

test('an empty query asks for nothing, and is answered', async () => {
  for (const path of ['/users/ada/presence', '/users/ada/presence?', '/users/ada/presence?&']) {
    expect((await served.call({ path })).status).toBe(200);
  }
});

/** The ids that any bytes mean, or null: decoded by the platform's own decoder, checked by the core. */
function idOf(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return UserId.safeParse(text).data ?? null;
  } catch {
    return null;
  }
}

const idBytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 40 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }).map((text) => new Uint8Array(Buffer.from(text))),
  fc
    .string({ unit: fc.constantFrom('%', '2', '5', 'F', '/', '%25', '%2F', '\u0000', 'é'), minLength: 1 })
    .map((text) => new Uint8Array(Buffer.from(text))),
);

test('whatever the bytes of an id, it arrives unchanged or is refused by name, never 500', async () => {
  await fc.assert(
    fc.asyncProperty(idBytes, idBytes, async (user, session) => {
      fc.pre(user.length <= 1_000 && session.length <= 1_000);
      seen.length = 0;
      const path = `/users/${percent(user)}/sessions/${percent(session)}`;
      const answer = await served.call({ method: 'DELETE', path });
      const ids = [idOf(user), idOf(session)];
      if (ids[0] !== null && ids[1] !== null) {
        expect(answer.status, answer.body).toBe(204);
        expect(seen).toEqual(ids);
      } else {
        const bad = ['id', 'sessionId'].filter((_name, index) => ids[index] === null);
        const named = expectProblem(answer, 400, 'bad-input').errors?.map(({ name }) => name) ?? [];
        // A parameter that cannot be decoded hides what is wrong with the other.
        expect(bad).toEqual(expect.arrayContaining(named));
        expect(named.length).toBeGreaterThan(0);
        expect(seen).toEqual([]);
      }
    }),
    { numRuns: 400 },
  );
});

const urlText = fc.string({
  unit: fc.constantFrom(
    ...'/%?#&=.:;*+~@!$\'(),[]|^`{}"<>\\ab01zZ'.split(''),
    '/users/',
    '/presence',
    '/sessions',
    '%2F',
    '%00',
    'limit=',
    'cursor=',
  ),
  maxLength: 60,
});

test('whatever the URL, the answer is a success or a problem, never 500', async () => {
  const methods = fc.constantFrom('GET', 'HEAD', 'DELETE', 'POST', 'OPTIONS');
  await fc.assert(
    fc.asyncProperty(methods, urlText, async (method, text) => {
      const answer = await served.raw(
        `${method} /users/${text} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      );
      expect(answer.status).toBeGreaterThanOrEqual(200);
      expect(answer.status).toBeLessThan(500);
      if (answer.status >= 400) expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
    }),
    { numRuns: 400 },
  );
});

test('whatever the bytes on the socket, the server lives on', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const answer = await served.raw(Buffer.concat([bytes, Buffer.from('\r\n\r\n\r\n\r\nX')]));
      expect(answer.status).toBe(400);
      expectProblem(answer, 400, 'bad-request');
    }),
    { numRuns: 100 },
  );
  expect((await served.call({ path: '/healthz' })).status).toBe(200);
});
