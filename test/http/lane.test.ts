// The most read call goes past the framework: nobody can tell by the answer, and whatever is out of the ordinary goes through it.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UserId } from '../../src/core/ids.ts';
import type { PresencePort } from '../../src/http/routes/presence.ts';
import { knowing, minted } from './keys.ts';
import { get, openLine, statusesOf } from './lines.ts';
import { type Answer, DatabaseAway, expectProblem, ports, serve } from './serve.ts';

const setting = 'willow-key-0123456789abcdef';
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const path = '/users/ada/presence';
/** The same question, which the router understands and the lane leaves alone. */
const usualPath = `${path}?`;

/** What the framework says of itself: it begins to handle a request. */
const channel = 'tracing:fastify.request.handler:start';
let handled = 0;
const count = (): void => {
  handled += 1;
};

beforeEach(() => {
  handled = 0;
  subscribe(channel, count);
});
afterEach(() => void unsubscribe(channel, count));

const presence: PresencePort = async (userId) => ({
  ...(await ports.presence(UserId.parse('ada'))),
  userId,
  device: { name: 'Zoë’s phone' },
});

/** What is asked waits until it is let go. */
function heldUp() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const held = {
    asked: 0,
    letGo: resolve,
    presence: (async (userId) => {
      held.asked += 1;
      await promise;
      return presence(userId);
    }) satisfies PresencePort,
  };
  return held;
}

/** All that a caller sees, but for what differs from one answer to the next. */
function seen({ status, headers, body }: Answer) {
  const { date: _date, ratelimit, ...others } = headers;
  return { status, body, headers: others, ratelimit: String(ratelimit).replace(/\d+/gu, 'n') };
}

describe('the answer past the framework', () => {
  test.each([
    { what: 'alone', allowedOrigins: [] },
    { what: 'where pages of other origins may ask', allowedOrigins: ['https://app.example.com'] },
  ])('is the usual one, header by header, $what', async ({ allowedOrigins }) => {
    await using served = await serve({ apiKey: setting, allowedOrigins, presence });
    const headers = bearer(setting);
    const past = await served.call({ path, headers });
    expect(handled).toBe(0);
    const usual = await served.call({ path: usualPath, headers });
    expect(handled).toBe(1);
    expect(past.status).toBe(200);
    expect(seen(past)).toEqual(seen(usual));
  });

  test('is the usual problem, and logged, where the database is away, and gives back the place it took', async () => {
    let isAway = true;
    const failing: PresencePort = async (userId) => {
      if (isAway) throw new DatabaseAway();
      return presence(userId);
    };
    await using served = await serve({ apiKey: setting, presence: failing, limits: { requestsMax: 1 } });
    const headers = bearer(setting);
    const past = await served.call({ path, headers });
    expect(handled).toBe(0);
    expectProblem(past, 503, 'database-unavailable');
    expect(seen(past)).toEqual(seen(await served.call({ path: usualPath, headers })));
    const failures = served.log.filter(({ event }) => event === 'request.failed');
    expect(failures).toHaveLength(2);
    expect(failures[0]).toMatchObject({ method: 'GET', route: '/users/:id/presence', problem: 'database-unavailable' });
    isAway = false;
    expect((await served.call({ path, headers })).status).toBe(200);
  });

  test('is logged and counted as the usual one is', async () => {
    const counted: string[] = [];
    const tallyOf = (method: string, route: string) => (status: number) =>
      void counted.push(`${method} ${route} ${status}`);
    await using served = await serve({ apiKey: setting, tallyOf });
    await served.call({ path, headers: bearer(setting) });
    expect(handled).toBe(0);
    expect(counted).toEqual(['GET /users/:id/presence 200']);
    expect(served.log.filter(({ event }) => event === 'request.answered')).toMatchObject([
      { method: 'GET', route: '/users/:id/presence', status: 200 },
    ]);
  });
});

describe('through the framework goes', () => {
  test.each([
    { what: 'an id with an escape', call: { path: '/users/a%20b/presence' }, status: 200 },
    { what: 'an id that is too long', call: { path: `/users/${'a'.repeat(257)}/presence` }, status: 400 },
    { what: 'a query', call: { path: `${path}?sessions=no` }, status: 400 },
    { what: 'a condition', call: { path, headers: { 'if-none-match': '*' } }, status: 304 },
    { what: 'a page', call: { path, headers: { origin: 'https://evil.example' } }, status: 200 },
    { what: 'a body', call: { path, body: '{}' }, status: 200 },
    { what: 'HEAD', call: { path, method: 'HEAD' }, status: 200 },
  ])('$what', async ({ call, status }) => {
    await using served = await serve({ apiKey: setting });
    const answer = await served.call({ ...call, headers: { ...bearer(setting), ...call.headers } });
    expect(answer.status).toBe(status);
    expect(answer.headers['ratelimit']).toMatch(/^"caller";/u);
  });

  test('whoever has no key, a wrong one, one that has expired, or one without the scope', async () => {
    const [right, expired, other] = [minted(), minted(['presence:read'], 1), minted(['events:read'])];
    await using served = await serve({ apiKey: setting, keys: knowing(right, expired, other) });
    expect((await served.call({ path, headers: bearer(right.key) })).status).toBe(200);
    // Twice: the second time they are known at once.
    for (const _ of [1, 2]) {
      expectProblem(await served.call({ path }), 401, 'unauthorized');
      expectProblem(await served.call({ path, headers: bearer(`${setting}x`) }), 401, 'unauthorized');
      expectProblem(await served.call({ path, headers: bearer(expired.key) }), 401, 'unauthorized');
      expectProblem(await served.call({ path, headers: bearer(other.key) }), 403, 'missing-scope');
      const altered = `willow_${right.id}_${'0'.repeat(64)}`;
      expectProblem(await served.call({ path, headers: bearer(altered) }), 401, 'unauthorized');
    }
  });

  test('where no key is needed, everybody: the host that was asked for is looked at', async () => {
    await using served = await serve();
    expect((await served.call({ path })).status).toBe(200);
    expect(handled).toBe(1);
    expectProblem(await served.call({ path, headers: { host: 'evil.example' } }), 403, 'host-not-allowed');
  });
});

describe('past the framework, too,', () => {
  test('a caller has one share, whichever way each request goes, and a key that is known is noted when used', async () => {
    const key = minted(['presence:read']);
    const used: string[] = [];
    const keys = { ...knowing(key), noteUse: (id: string) => void used.push(id) };
    const limits = { callerRequestsMax: 4, callerWindowMs: 3_600_000 };
    await using served = await serve({ apiKey: setting, keys, limits });
    const lefts: string[] = [];
    for (const way of [path, path, usualPath, path]) {
      const answer = await served.call({ path: way, headers: bearer(key.key) });
      lefts.push(/r=(\d+)/u.exec(String(answer.headers['ratelimit']))?.[1] ?? '');
    }
    // The first is looked up, the usual way.
    expect(handled).toBe(2);
    expect(lefts).toEqual(['3', '2', '1', '0']);
    expect(used).toEqual([key.id, key.id, key.id, key.id]);
    for (const way of [path, usualPath]) {
      expectProblem(await served.call({ path: way, headers: bearer(key.key) }), 429, 'too-many-requests');
    }
  });

  test('what is being worked on takes a place, and who finds none is refused', async () => {
    const held = heldUp();
    const refused: string[] = [];
    await using served = await serve({
      apiKey: setting,
      presence: held.presence,
      limits: { requestsMax: 2 },
      onRefused: (why) => refused.push(why),
    });
    const headers = bearer(setting);
    const both = [served.call({ path, headers }), served.call({ path, headers })];
    await expect.poll(() => held.asked, { timeout: 20_000 }).toBe(2);
    expectProblem(await served.call({ path, headers }), 503, 'overloaded');
    held.letGo();
    for (const answer of await Promise.all(both)) expect(answer.status).toBe(200);
    expect((await served.call({ path, headers })).status).toBe(200);
    expect(handled).toBe(0);
    expect(refused).toEqual(['overloaded']);
  });

  test('a connection has so many at once, the others are refused, and all are answered in their order', async () => {
    const held = heldUp();
    const refused: string[] = [];
    const onRefused = (why: string): void => void refused.push(why);
    const limits = { requestsPerConnectionMax: 2 };
    await using served = await serve({ apiKey: setting, presence: held.presence, limits, onRefused });
    const { socket, heard } = await openLine(served.port);
    const one = get(path).replace('\r\n\r\n', `\r\nAuthorization: Bearer ${setting}\r\n\r\n`);
    const waits = { timeout: 20_000 };
    for (const count of [1, 2]) {
      socket.write(one);
      await expect.poll(() => held.asked, waits).toBe(count);
    }
    expect(handled).toBe(0);
    socket.write(one);
    await expect.poll(() => refused, waits).toEqual(['overloaded']);
    held.letGo();
    await expect.poll(() => statusesOf(heard()), waits).toEqual([200, 200, 503]);
    socket.write(one + one);
    await expect.poll(() => statusesOf(heard()).slice(3), waits).toEqual([200, 200]);
    socket.destroy();
  });
});
