// Where no key is needed, a web page that was loaded elsewhere must not act: a browser names it in the Origin of every request that could.

import { expect, test } from 'vitest';
import { isLoopbackOrigin } from '../../src/http/loopback.ts';
import { bodyOf, pathOf } from './calls.ts';
import { expectProblem, serve } from './serve.ts';

const apiKey = 'willow-key-0123456789abcdef';
const ownOrigins = [
  'http://localhost',
  'http://localhost:3000',
  'https://localhost:8443',
  'http://127.0.0.1:8080',
  'http://127.9.9.9',
  'http://[::1]:8080',
];
const otherOrigins = [
  'null',
  'https://evil.com',
  'http://localhost.evil.com',
  'http://evil.com:80',
  'http://localhost:8080.evil.com',
  'http://evil.com#localhost',
  'http://user@localhost',
  'http://192.168.0.1',
  'http://127.0.0.1.evil.com',
  'file://',
  'chrome-extension://localhost',
  'ftp://localhost',
  'http://localhost, http://evil.com',
  'http://evil.com, http://localhost',
  'http://localhost/',
  '//localhost',
  'localhost',
  '',
];

test('a page of this machine is served, and no other, on any route, in any way', async () => {
  await using served = await serve();
  for (const origin of ownOrigins) {
    expect(isLoopbackOrigin(origin)).toBe(true);
    expect((await served.call({ path: '/users/ada/presence', headers: { origin } })).status, origin).toBe(200);
  }
  for (const origin of otherOrigins) {
    for (const route of served.routes) {
      const call = { method: route.method, path: pathOf(route), ...bodyOf(route) };
      const answer = await served.call({ ...call, headers: { origin, 'content-type': 'application/json' } });
      if (route.method === 'HEAD') expect(answer.status, origin).toBe(403);
      else expectProblem(answer, 403, 'origin-not-allowed');
    }
  }
});

test('the requests that a browser sends for a page without asking first never reach a handler', async () => {
  const reached: unknown[] = [];
  const kick = async (...asked: unknown[]) => {
    reached.push(asked);
    return 'done' as const;
  };
  await using served = await serve({ kick });
  const headers = { origin: 'https://evil.com', 'sec-fetch-site': 'cross-site', 'content-type': 'text/plain' };
  for (const path of ['/webhooks/whe_1/rotate', '/webhooks/whe_1/parked/retry', '/keys']) {
    expectProblem(await served.call({ method: 'POST', path, headers, body: '{}' }), 403, 'origin-not-allowed');
  }
  const preflight = { ...headers, 'access-control-request-method': 'DELETE' };
  const asked = await served.call({ method: 'OPTIONS', path: '/users/ada/sessions', headers: preflight });
  expectProblem(asked, 403, 'origin-not-allowed');
  expect(asked.headers).not.toHaveProperty('access-control-allow-origin');
  expect(reached).toEqual([]);
});

test('an origin that is allowed by name is served, and none that only resembles it', async () => {
  await using served = await serve({ allowedOrigins: ['https://app.example.com'] });
  const statusOf = async (origin: string) =>
    (await served.call({ path: '/users/ada/presence', headers: { origin } })).status;
  expect(await statusOf('https://app.example.com')).toBe(200);
  for (const origin of ['http://app.example.com', 'https://app.example.com:444', 'https://app.example.com.evil.com']) {
    expect(await statusOf(origin), origin).toBe(403);
  }
});

test('with API_KEY an origin says nothing: what counts is the key, which no page has', async () => {
  await using served = await serve({ apiKey });
  const ask = (headers: Record<string, string>) => served.call({ path: '/users/ada/presence', headers });
  const origin = 'https://evil.com';
  expectProblem(await ask({ origin }), 401, 'unauthorized');
  expect((await ask({ origin, authorization: `Bearer ${apiKey}` })).status).toBe(200);
});
