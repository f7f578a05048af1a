// Which pages may call from a browser: by the headers that browsers go by.

import { describe, expect, test } from 'vitest';
import { pathOf } from './calls.ts';
import { type Answer, expectProblem, serve } from './serve.ts';

const setting = 'willow-key-0123456789abcdef';
const named = 'https://app.example.com';
const bearer = { authorization: `Bearer ${setting}` };
const preflight = { origin: named, 'access-control-request-method': 'GET' };

const corsHeaders = ({ headers }: Answer) =>
  Object.keys(headers).filter((name) => name.startsWith('access-control-') || name === 'vary');

describe('where no origin is named', () => {
  test('no answer to anybody says a word of origins, and OPTIONS is a method that no route knows', async () => {
    await using served = await serve({ apiKey: setting });
    for (const route of served.routes) {
      for (const headers of [{}, preflight]) {
        const call = { path: pathOf(route), headers: { ...headers, ...bearer } };
        expect(corsHeaders(await served.call({ ...call, method: route.method }))).toEqual([]);
        const options = await served.call({ ...call, method: 'OPTIONS' });
        expectProblem(options, 405, 'method-not-allowed');
        expect(corsHeaders(options)).toEqual([]);
      }
    }
  });
});

describe('where an origin is named', () => {
  const deps = { apiKey: setting, allowedOrigins: [named, 'http://localhost:5173'] };

  test('its pages may read every answer, problems too, and what the headers say', async () => {
    await using served = await serve({ ...deps, limits: { callerRequestsMax: 1, failuresMax: 1 } });
    const answers = [
      await served.call({ path: '/users/ada/presence', headers: { origin: named, ...bearer } }),
      await served.call({ path: '/users/ada/presence', headers: { origin: named, ...bearer } }),
      await served.call({ path: '/users/ada/presence', headers: { origin: named } }),
      await served.call({ path: '/users/ada/presence?x=1', headers: { origin: named, ...bearer } }),
      await served.call({ path: '/nowhere', headers: { origin: named } }),
      await served.call({ path: '/users/%zz/presence', headers: { origin: named } }),
      await served.call({ method: 'PUT', path: '/healthz', headers: { origin: named } }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 429, 401, 429, 404, 400, 405]);
    for (const { headers, status } of answers) {
      expect(headers['access-control-allow-origin'], String(status)).toBe(named);
      expect(headers.vary).toBe('Origin');
      for (const exposed of ['ETag', 'RateLimit', 'Retry-After']) {
        expect(headers['access-control-expose-headers']).toContain(exposed);
      }
      expect(headers['access-control-allow-credentials']).toBeUndefined();
    }
  });

  test('a preflight is answered without a key, with the methods of the URL and the headers that calls have', async () => {
    await using served = await serve(deps);
    for (const [path, methods] of [
      ['/users/ada/sessions', ['DELETE', 'GET', 'HEAD', 'POST']],
      ['/webhooks/whe_1', ['DELETE', 'GET', 'HEAD', 'PATCH']],
    ] as const) {
      const answer = await served.call({ method: 'OPTIONS', path, headers: preflight });
      expect(answer).toMatchObject({ status: 204, body: '' });
      expect(answer.headers['access-control-allow-origin']).toBe(named);
      expect(answer.headers['access-control-allow-methods']?.split(', ').toSorted()).toEqual(methods);
      const allowed = answer.headers['access-control-allow-headers'];
      for (const name of ['Authorization', 'Content-Type', 'Idempotency-Key', 'If-None-Match', 'Last-Event-ID']) {
        expect(allowed).toContain(name);
      }
      expect(answer.headers.vary).toBe('Origin');
      expect(answer.headers['x-content-type-options']).toBe('nosniff');
    }
    const nowhere = await served.call({ method: 'OPTIONS', path: '/nowhere', headers: preflight });
    expectProblem(nowhere, 404, 'not-found');
    // Not asked by a browser for a page.
    const options = await served.call({ method: 'OPTIONS', path: '/healthz', headers: { origin: named } });
    expectProblem(options, 405, 'method-not-allowed');
  });

  const others = [
    'https://evil.com',
    'https://app.example.com.evil.com',
    'http://app.example.com',
    'null',
    `${named}/`,
  ];

  test.each(others)('a page of %s is told nothing, and caches know that answers differ', async (origin) => {
    await using served = await serve(deps);
    const answer = await served.call({ path: '/users/ada/presence', headers: { origin, ...bearer } });
    expect(corsHeaders(answer)).toEqual(['vary']);
    const asked = { ...preflight, origin };
    const refused = await served.call({ method: 'OPTIONS', path: '/users/ada/presence', headers: asked });
    expectProblem(refused, 405, 'method-not-allowed');
    expect(corsHeaders(refused)).toEqual(['vary']);
  });

  test('without a key its pages are served beside those of this machine, and others are not', async () => {
    await using served = await serve({ ...deps, apiKey: null });
    const call = (origin: string) => served.call({ path: '/users/ada/presence', headers: { origin } });
    expect((await call(named)).headers['access-control-allow-origin']).toBe(named);
    expect((await call('http://localhost:9')).headers['access-control-allow-origin']).toBeUndefined();
    expectProblem(await call('https://evil.com'), 403, 'origin-not-allowed');
  });
});

test('every answer forbids a browser to run it, frame it, embed it elsewhere, or tell its URL', async () => {
  await using served = await serve({ apiKey: setting });
  const answers = [
    await served.call({ path: '/users/ada/presence', headers: bearer }),
    await served.call({ path: '/healthz' }),
    await served.call({ path: '/metrics', headers: bearer }),
    await served.call({ method: 'DELETE', path: '/users/ada/sessions', headers: bearer }),
    await served.call({ path: '/users/ada/presence' }),
    await served.call({ path: '/nowhere' }),
    await served.call({ path: '/users/%zz/presence' }),
    await served.raw('nonsense\r\n\r\n'),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 204, 401, 404, 400, 400]);
  for (const { headers } of answers) {
    expect(headers).toMatchObject({
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
  }
});
