import { pino } from 'pino';
import { expect, test } from 'vitest';
import { isLoopbackHost } from '../../src/http/loopback.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { bodyOf, json, pathOf } from './calls.ts';
import { streamsOf } from './memory-log.ts';
import { type Call, expectProblem, ports, serve } from './serve.ts';

const apiKey = 'willow-key-ä-0123456789abcdef';
/** Headers carry bytes: UTF-8, one character a byte. */
const keyBytes = Buffer.from(apiKey).toString('latin1');
test('every route says who may call it', async () => {
  await using served = await serve();
  expect(Object.fromEntries(served.routes.map(({ method, url, scope }) => [`${method} ${url}`, scope]))).toEqual({
    'GET /users/:id/presence': 'presence:read',
    'HEAD /users/:id/presence': 'presence:read',
    'POST /presence/query': 'presence:read',
    'GET /presence': 'presence:read',
    'HEAD /presence': 'presence:read',
    'GET /presence/counts': 'presence:read',
    'HEAD /presence/counts': 'presence:read',
    'GET /users/:id/presence/stream': 'presence:read',
    'HEAD /users/:id/presence/stream': 'presence:read',
    'GET /users/:id/sessions': 'presence:read',
    'HEAD /users/:id/sessions': 'presence:read',
    'POST /users/:id/sessions': 'sessions:write',
    'DELETE /users/:id': 'sessions:write',
    'DELETE /users/:id/sessions': 'sessions:write',
    'DELETE /users/:id/sessions/:sessionId': 'sessions:write',
    'GET /users/:id/events': 'events:read',
    'HEAD /users/:id/events': 'events:read',
    'GET /events': 'events:read',
    'HEAD /events': 'events:read',
    'GET /events/stream': 'events:read',
    'HEAD /events/stream': 'events:read',
    'POST /webhooks': 'webhooks:admin',
    'GET /webhooks': 'webhooks:admin',
    'HEAD /webhooks': 'webhooks:admin',
    'GET /webhooks/:id': 'webhooks:admin',
    'HEAD /webhooks/:id': 'webhooks:admin',
    'PATCH /webhooks/:id': 'webhooks:admin',
    'DELETE /webhooks/:id': 'webhooks:admin',
    'POST /webhooks/:id/rotate': 'webhooks:admin',
    'POST /webhooks/:id/test': 'webhooks:admin',
    'POST /webhooks/:id/enable': 'webhooks:admin',
    'POST /webhooks/:id/replay': 'webhooks:admin',
    'GET /webhooks/:id/attempts': 'webhooks:admin',
    'HEAD /webhooks/:id/attempts': 'webhooks:admin',
    'GET /webhooks/:id/parked': 'webhooks:admin',
    'HEAD /webhooks/:id/parked': 'webhooks:admin',
    'POST /webhooks/:id/parked/retry': 'webhooks:admin',
    'POST /webhooks/:id/parked/:parkedId/retry': 'webhooks:admin',
    'DELETE /webhooks/:id/parked/:parkedId': 'webhooks:admin',
    'POST /keys': 'keys:admin',
    'GET /keys': 'keys:admin',
    'HEAD /keys': 'keys:admin',
    'GET /keys/:id': 'keys:admin',
    'HEAD /keys/:id': 'keys:admin',
    'DELETE /keys/:id': 'keys:admin',
    'GET /audit': 'keys:admin',
    'HEAD /audit': 'keys:admin',
    'GET /quarantine': 'quarantine:admin',
    'HEAD /quarantine': 'quarantine:admin',
    'GET /quarantine/:id': 'quarantine:admin',
    'HEAD /quarantine/:id': 'quarantine:admin',
    'DELETE /quarantine/:id': 'quarantine:admin',
    'GET /openapi.json': 'open',
    'HEAD /openapi.json': 'open',
    'GET /docs': 'open',
    'HEAD /docs': 'open',
    'GET /docs/scalar.js': 'open',
    'HEAD /docs/scalar.js': 'open',
    'GET /healthz': 'open',
    'HEAD /healthz': 'open',
    'GET /readyz': 'open',
    'HEAD /readyz': 'open',
    'GET /metrics': 'metrics:read',
    'HEAD /metrics': 'metrics:read',
  });
});

test('a route that does not say so fails the start', () => {
  const app = createHttpServer({ ...ports, logger: pino({ level: 'silent' }) });
  expect(() => app.get('/forgotten', () => 'secret')).toThrow('GET /forgotten declares a scope');
  expect(() => app.get('/forgotten', { config: {} }, () => 'secret')).toThrow('GET /forgotten declares a scope');
});

const refusedKeys: Record<string, string | string[] | undefined> = {
  'no key': undefined,
  'an empty header': '',
  'another scheme': `Basic ${keyBytes}`,
  'a scheme alone': 'Bearer',
  'a scheme and blanks': 'Bearer   ',
  'the key alone': keyBytes,
  'a wrong key': 'Bearer wrong',
  'a wrong key of the same length': `Bearer ${'x'.repeat(keyBytes.length)}`,
  'a beginning of the key': `Bearer ${keyBytes.slice(0, -1)}`,
  'the key and more': `Bearer ${keyBytes}x`,
  'the key in other letters': `Bearer ${keyBytes.toUpperCase()}`,
  'the key twice in one header': `Bearer ${keyBytes}, Bearer ${keyBytes}`,
  'the key after a wrong one': ['Bearer wrong', `Bearer ${keyBytes}`],
  'the key before a wrong one': [`Bearer ${keyBytes}`, 'Bearer wrong'],
};

test.each(Object.entries(refusedKeys))('no route but the open ones answers to %s', async (_name, authorization) => {
  let calls = 0;
  const counted = async (): Promise<never> => {
    calls += 1;
    throw new Error('a port was reached');
  };
  const webhooks = Object.fromEntries(Object.keys(ports.webhooks).map((name) => [name, counted]));
  const guarded = {
    presence: counted,
    listSessions: counted,
    kick: counted,
    eventsOfUser: counted,
    events: counted,
    streams: streamsOf({ stretch: counted, question: counted }, { presence: counted }),
    metrics: { gather: counted, render: counted },
    webhooks: { ...ports.webhooks, ...webhooks },
    keys: { ...ports.keys, create: counted, list: counted, get: counted, remove: counted },
    audit: counted,
  };
  await using served = await serve({ apiKey, ...guarded });
  for (const route of served.routes) {
    const headers: Call['headers'] = authorization === undefined ? {} : { authorization };
    const answer = await served.call({ method: route.method, path: pathOf(route), headers });
    if (route.scope === 'open') {
      expect(answer.status).toBe(200);
      continue;
    }
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="willow"/u);
    if (route.method === 'HEAD') expect(answer.status).toBe(401);
    else expectProblem(answer, 401, 'unauthorized');
  }
  expect(calls).toBe(0);
  expect(served.logText()).not.toContain(keyBytes);
});

test('every route answers to the key, under any host, and the key is nowhere in the log', async () => {
  await using served = await serve({ apiKey });
  for (const route of served.routes) {
    const headers = { authorization: `bearer  ${keyBytes}`, host: 'willow.example.com' };
    const call = { method: route.method, path: pathOf(route), ...bodyOf(route) };
    const { status } = await served.call({ ...call, headers: { ...json, ...headers } });
    expect(status, `${route.method} ${route.url}`).toBeLessThan(300);
  }
  // A stream is not over when it is answered.
  const answered = served.routes.filter(({ method, url }) => method !== 'GET' || !url.endsWith('/stream'));
  expect(served.log.map(({ route }) => route)).toEqual(answered.map(({ url }) => url));
  expect(served.logText()).not.toMatch(/willow-key|authorization/iu);
});

const loopbackHosts = [
  'localhost',
  'LOCALHOST:8080',
  '127.0.0.1',
  '127.0.0.1:1',
  '127.8.255.254:65535',
  '[::1]',
  '[::1]:8080',
];
const otherHosts = [
  'evil.com',
  '127.0.0.1.evil.com',
  '127.0.0.1.evil.com:8080',
  'localhost.evil.com',
  'evil.com#localhost',
  'evil.com@localhost',
  'localhost@evil.com',
  'localhost:8080@evil.com',
  'localhost.',
  'xlocalhost',
  '127.0.0.256',
  '127.0.0.1.1',
  '127.1',
  '2130706433',
  '0.0.0.0',
  '192.168.0.1',
  '::1',
  '[::2]',
  '[::1].evil.com',
  '[::ffff:127.0.0.1]',
  '127.0.0.1:8080:80',
  '127.0.0.1 evil.com',
  'evil.com,localhost',
  '',
];

test('without a key a loopback host is served, a name that leads to loopback is not', async () => {
  await using served = await serve();
  for (const host of loopbackHosts) {
    expect(isLoopbackHost(host)).toBe(true);
    expect((await served.call({ path: '/users/ada/presence', headers: { host } })).status, host).toBe(200);
  }
  for (const host of otherHosts) {
    for (const route of served.routes) {
      const answer = await served.raw(
        `${route.method} ${pathOf(route)} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      if (route.method === 'HEAD') expect(answer.status, host).toBe(403);
      else expectProblem(answer, 403, 'host-not-allowed');
    }
  }
});

test('without a key a request without a host, or with two, is refused, and one for no route tells nothing', async () => {
  await using served = await serve();
  expectProblem(await served.raw('GET /healthz HTTP/1.0\r\n\r\n'), 403, 'host-not-allowed');
  expectProblem(await served.raw('GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n'), 403, 'host-not-allowed');
  for (const hosts of ['Host: localhost\r\nHost: evil.com', 'Host: evil.com\r\nHost: localhost']) {
    const bytes = `GET /users/ada/presence HTTP/1.1\r\n${hosts}\r\nConnection: close\r\n\r\n`;
    expectProblem(await served.raw(bytes), 403, 'host-not-allowed');
  }
  expectProblem(await served.call({ path: '/nowhere', headers: { host: 'evil.com' } }), 403, 'host-not-allowed');
});

test('with a key HTTP/1.1 still needs a host, HTTP/1.0 does not', async () => {
  await using served = await serve({ apiKey });
  expectProblem(await served.raw('GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n'), 400, 'bad-request');
  expect((await served.raw('GET /healthz HTTP/1.0\r\n\r\n')).status).toBe(200);
});

test('a process without the API serves health and metrics only', async () => {
  await using served = await serve({ hasApi: false });
  expect([...new Set(served.routes.map(({ url }) => url))]).toEqual(['/healthz', '/readyz', '/metrics']);
  expectProblem(await served.call({ path: '/users/ada/presence' }), 404, 'not-found');
});
