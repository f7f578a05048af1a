// Who has the presence of a user already is told so, and nothing more (RFC 9110 §13.1.2).

import { afterAll, beforeAll, expect, test } from 'vitest';
import { presenceTag } from '../../src/http/etag.ts';
import { presenceBody } from '../../src/http/render.ts';
import { atMs, lost, online, userId } from './ada.ts';
import { ports, type Served, serve } from './serve.ts';

const presence = {
  userId,
  revision: 9,
  status: 'online' as const,
  sinceMs: atMs,
  lastSeenAtMs: atMs + 1_500,
  sequence: 3,
  sessions: [online, lost],
  asOfMs: atMs + 4_000,
  isStale: false,
};
const tag = presenceTag(presence);

let served: Served;
beforeAll(async () => {
  served = await serve({ presence: async () => presence, allowedOrigins: ['https://app.example.com'], apiKey: null });
});
afterAll(() => served[Symbol.asyncDispose]());

const ask = (headers: Record<string, string>, method = 'GET') =>
  served.call({ method, path: '/users/ada/presence', headers });

test('a presence comes with a weak tag', async () => {
  const answer = await ask({});
  expect(answer.status).toBe(200);
  expect(answer.headers.etag).toBe(tag);
  expect(tag).toMatch(/^W\/"[\x21\x23-\x7e]+"$/u);
});

const strong = tag.slice(2);
test.each([
  ['the tag', tag],
  ['the same as a strong one: the comparison is weak', strong],
  ['anything', '*'],
  ['a list with it', `"a", W/"b" ,${tag}`],
  ['a list with a tag that holds commas and quotes of others', `"a,b", ${tag}`],
  ['an empty element', `,,${tag},`],
])('%s: 304, without a body', async (_what, ifNoneMatch) => {
  for (const method of ['GET', 'HEAD']) {
    const answer = await ask({ 'if-none-match': ifNoneMatch, origin: 'https://app.example.com' }, method);
    expect([answer.status, answer.body]).toEqual([304, '']);
    expect(answer.headers).toMatchObject({
      etag: tag,
      'cache-control': 'private, no-cache',
      vary: 'Origin',
      'access-control-expose-headers': expect.stringContaining('ETag') as string,
    });
    expect(answer.headers['content-type']).toBeUndefined();
  }
});

test.each([
  ['another tag', 'W/"1"'],
  ['one that begins as it does', `${tag.slice(0, -1)}0"`],
  ['one that it begins with', `${tag.slice(0, -2)}"`],
  ['the tag without quotes', strong.slice(1, -1)],
  ['nothing', ''],
  ['a star in a list', '"a", *'],
])('%s: 200, in full', async (_what, ifNoneMatch) => {
  const answer = await ask({ 'if-none-match': ifNoneMatch });
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ userId: 'ada', status: 'online' });
});

test('a user who was never heard of has a tag too', async () => {
  await using unknown = await serve(ports);
  const { headers } = await unknown.call({ path: '/users/nobody/presence' });
  const again = await unknown.call({
    path: '/users/nobody/presence',
    headers: { 'if-none-match': String(headers.etag) },
  });
  expect(again.status).toBe(304);
});

test('presence is rendered as it is tagged: what is shown anew has a tag of its own', () => {
  // Whoever changes this text changes `rendering` in etag.ts too.
  const { asOf: _asOf, ...shown } = presenceBody({ ...presence, sessions: [online] });
  expect([tag.slice(0, 5), JSON.stringify(shown)]).toEqual([
    'W/"2-',
    '{"userId":"ada","status":"online","since":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z","sequence":3,' +
      '"sessions":[{"sessionId":"phone","status":"online","epoch":7,"clientId":"c1","device":{"os":"ios","label":"Ada’s \\"phone\\""},' +
      '"startedAt":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z"}],"stale":false}',
  ]);
});

test.each([
  ['sequence', { sequence: 4 }],
  ['since', { sinceMs: atMs + 1 }],
  ['lastSeenAt', { lastSeenAtMs: atMs + 1_501 }],
  ['stale', { isStale: true }],
])('a database that went back to an earlier revision tells by %s what is written anew', (_what, other) => {
  expect(presenceTag({ ...presence, ...other })).not.toBe(tag);
});
