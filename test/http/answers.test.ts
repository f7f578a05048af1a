import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Epoch } from '../../src/core/ids.ts';
import { isoTime } from '../../src/http/iso-time.ts';
import type { LoggedEvent } from '../../src/http/render.ts';
import { atMs, ended, lost, online, userId } from './ada.ts';
import { expectProblem, ports, serve } from './serve.ts';

const shownOnline =
  '{"sessionId":"phone","status":"online","epoch":7,"clientId":"c1","device":{"os":"ios","label":"Ada’s \\"phone\\""},' +
  '"startedAt":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z"}';
const shownLost =
  '{"sessionId":"tab","status":"lost","epoch":0,"clientId":null,"device":null,' +
  '"startedAt":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z"}';
const shownEnded =
  '{"sessionId":"desk","status":"ended","epoch":null,"clientId":"c1","device":{"os":"ios","label":"Ada’s \\"phone\\""},' +
  '"startedAt":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z",' +
  '"endedAt":"2026-11-23T10:00:02.000Z","reason":"kicked"}';

test('presence shows these fields and no others', async () => {
  await using served = await serve({
    presence: async () => ({
      userId,
      status: 'online',
      sinceMs: atMs,
      lastSeenAtMs: atMs + 1_500,
      revision: 9,
      sequence: 3,
      sessions: [online, lost],
      asOfMs: atMs + 4_000,
      isStale: true,
    }),
  });
  const answer = await served.call({ path: '/users/ada/presence' });
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'private, no-cache',
    'x-content-type-options': 'nosniff',
  });
  expect(answer.body).toBe(
    '{"userId":"ada","status":"online","since":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z",' +
      `"sequence":3,"sessions":[${shownOnline},${shownLost}],"asOf":"2026-11-23T10:00:04.000Z","stale":true}`,
  );
});

test('a user never seen is offline since never', async () => {
  await using served = await serve();
  expect((await served.call({ path: '/users/ada/presence' })).body).toBe(
    '{"userId":"ada","status":"offline","since":null,"lastSeenAt":null,"sequence":0,"sessions":[],"asOf":null,"stale":false}',
  );
});

test('HEAD answers what GET does, without the body', async () => {
  await using served = await serve();
  for (const path of [
    '/users/ada/presence',
    '/users/ada/sessions',
    '/users/ada/events',
    '/healthz',
    '/readyz',
    '/metrics',
  ]) {
    const got = await served.call({ path });
    const head = await served.call({ method: 'HEAD', path });
    expect(head).toMatchObject({ status: 200, body: '' });
    for (const name of ['content-type', 'content-length', 'cache-control', 'x-content-type-options']) {
      expect(head.headers[name], `${name} of ${path}`).toBe(got.headers[name]);
    }
  }
});

test('the list of sessions shows ended ones too', async () => {
  await using served = await serve({ listSessions: async () => [online, lost, ended] });
  const answer = await served.call({ path: '/users/ada/sessions' });
  expect(answer.body).toBe(`{"data":[${shownOnline},${shownLost},${shownEnded}],"nextCursor":null}`);
});

test('the list of events shows a reason on ends only', async () => {
  const started: LoggedEvent = {
    position: 10,
    sequence: 1,
    type: 'session.started',
    userId,
    sessionId: online.sessionId,
    epoch: Epoch.parse(7),
    reason: null,
    device: { os: 'ios' },
    atMs,
  };
  const gone: LoggedEvent = {
    ...started,
    position: 12,
    sequence: 2,
    type: 'user.offline',
    reason: 'will',
    epoch: null,
  };
  await using served = await serve({ eventsOfUser: async () => [started, gone] });
  expect((await served.call({ path: '/users/ada/events' })).body).toBe(
    '{"data":[{"position":10,"sequence":1,"type":"session.started","userId":"ada","sessionId":"phone","epoch":7,' +
      '"device":{"os":"ios"},"at":"2026-11-23T10:00:00.000Z"},' +
      '{"position":12,"sequence":2,"type":"user.offline","userId":"ada","sessionId":"phone","epoch":null,"reason":"will",' +
      '"device":{"os":"ios"},"at":"2026-11-23T10:00:00.000Z"}],"nextCursor":null}',
  );
});

test('a kick is 204, and 404 for a session that is not known', async () => {
  const kicks: unknown[] = [];
  await using served = await serve({
    kick: async (user, session) => {
      kicks.push([user, session]);
      return session === null || session === 'phone' ? 'done' : 'unknown-session';
    },
  });
  const all = await served.call({ method: 'DELETE', path: '/users/ada/sessions' });
  expect(all).toMatchObject({ status: 204, body: '' });
  expect(all.headers['content-type']).toBeUndefined();
  expect((await served.call({ method: 'DELETE', path: '/users/ada/sessions/phone' })).status).toBe(204);
  const unknown = await served.call({ method: 'DELETE', path: '/users/ada/sessions/tab' });
  expectProblem(unknown, 404, 'unknown-session');
  expect(kicks).toEqual([
    ['ada', null],
    ['ada', 'phone'],
    ['ada', 'tab'],
  ]);
});

test('health is told as it is', async () => {
  let isReady = true;
  const checks = { database: { ok: true }, link: { ok: false, state: 'connecting' } };
  await using served = await serve({ ready: async () => ({ isReady, checks }) });
  expect(JSON.parse((await served.call({ path: '/healthz' })).body)).toEqual({ status: 'ok' });
  expect(JSON.parse((await served.call({ path: '/readyz' })).body)).toEqual({ status: 'ready', checks });
  isReady = false;
  const answer = await served.call({ path: '/readyz' });
  expect(expectProblem(answer, 503, 'not-ready').checks).toEqual(checks);
  expect((await served.call({ path: '/healthz' })).status).toBe(200);
});

test('metrics are handed on with their own content type', async () => {
  await using served = await serve();
  const { contentType, body } = await ports.metrics.render();
  const answer = await served.call({ path: '/metrics' });
  expect(answer).toMatchObject({ status: 200, body });
  expect(answer.headers['content-type']).toBe(contentType);
});

test('a time reads as Date says it', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true }), (date) => {
      expect(isoTime(date.getTime())).toBe(date.toISOString());
    }),
    { numRuns: 5_000 },
  );
  expect(() => isoTime(Number.NaN)).toThrow(RangeError);
});
