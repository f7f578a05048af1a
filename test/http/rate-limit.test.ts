// How often a caller may call, and how often somebody may guess at keys.

import { describe, expect, test } from 'vitest';
import { Quota } from '../../src/http/quota.ts';
import { keys, minted } from './keys.ts';
import { type Answer, expectProblem, type Served, serve } from './serve.ts';

const setting = 'willow-key-0123456789abcdef';
const path = '/users/ada/presence';
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const hourMs = 3_600_000;

describe('a caller', () => {
  const limits = { callerRequestsMax: 3, callerWindowMs: hourMs };

  test('is told with every answer how much is left, and beyond it when to come back', async () => {
    let reads = 0;
    const refused: string[] = [];
    const onRefused = (why: string) => void refused.push(why);
    const listSessions = async () => {
      reads += 1;
      return [];
    };
    await using served = await serve({ limits, listSessions, onRefused });
    for (const left of [2, 1, 0]) {
      const answer = await served.call({ path: '/users/ada/sessions' });
      expect(answer.status).toBe(200);
      expect(answer.headers['ratelimit']).toMatch(new RegExp(`^"caller";r=${left};t=\\d{1,4}$`, 'u'));
      expect(answer.headers['ratelimit-policy']).toBeUndefined();
    }
    const answer = await served.call({ path: '/users/ada/sessions' });
    expectProblem(answer, 429, 'too-many-requests');
    const [, seconds] = /^"caller";r=0;t=(\d+)$/u.exec(String(answer.headers['ratelimit'])) ?? [];
    expect(answer.headers['retry-after']).toBe(seconds);
    expect(Number(seconds)).toBeGreaterThan(3_500);
    expect(answer.headers['ratelimit-policy']).toBe('"caller";q=3;w=3600');
    expect(reads).toBe(3);
    expect(refused).toEqual(['too-many-requests']);
  });

  test('has a share of its own: each key, the key of the setting, and whoever needs none', async () => {
    const [one, two] = [minted(), minted()];
    const ring = { ...keys, findKey: (id: string) => [one, two].find((key) => key.id === id) ?? null };
    await using served = await serve({ limits, apiKey: setting, keys: ring });
    for (const key of [one.key, two.key, setting]) {
      for (let count = 0; count < 3; count += 1) {
        expect((await served.call({ path, headers: bearer(key) })).status).toBe(200);
      }
      expectProblem(await served.call({ path, headers: bearer(key) }), 429, 'too-many-requests');
    }
    await using open = await serve({ limits });
    for (let count = 0; count < 3; count += 1) expect((await open.call({ path })).status).toBe(200);
    expectProblem(await open.call({ path }), 429, 'too-many-requests');
  });

  test('does not pay for open routes, for what is nowhere, and for keys that are not good', async () => {
    await using served = await serve({ limits, apiKey: setting });
    for (let count = 0; count < 5; count += 1) {
      const health = await served.call({ path: '/healthz', headers: bearer(setting) });
      expect(health).toMatchObject({ status: 200 });
      expect(health.headers['ratelimit']).toBeUndefined();
      await served.call({ path: '/nowhere', headers: bearer(setting) });
      await served.call({ path, headers: bearer('wrong') });
    }
    const answer = await served.call({ path, headers: bearer(setting) });
    expect(answer.headers['ratelimit']).toMatch(/^"caller";r=2;/u);
  });
});

test('a new window gives everything back', () => {
  const quota = new Quota({ max: 2, windowMs: 10_000 });
  expect(quota.take('ada', 0)).toEqual({ isOver: false, remaining: 1, resetSeconds: 10 });
  expect(quota.take('ada', 1)).toEqual({ isOver: false, remaining: 0, resetSeconds: 10 });
  expect(quota.take('bob', 1)).toEqual({ isOver: false, remaining: 1, resetSeconds: 10 });
  expect(quota.take('ada', 9_999)).toEqual({ isOver: true, remaining: 0, resetSeconds: 1 });
  expect(quota.take('ada', 10_000)).toEqual({ isOver: false, remaining: 1, resetSeconds: 10 });
});

test('of those who come from everywhere no more than a bounded number is remembered', () => {
  const quota = new Quota({ max: 1, windowMs: 10_000 });
  quota.take('the first', 0);
  for (let count = 0; count < 99_999; count += 1) quota.take(`address ${count}`, 0);
  expect(quota.take('the first', 0).isOver).toBe(true);
  quota.take('one more', 0);
  expect(quota.take('the first', 0).isOver).toBe(false);
  expect(quota.take('one more', 0).isOver).toBe(true);
});

describe('somebody who guesses at keys', () => {
  const limits = { failuresMax: 5, failuresWindowMs: hourMs };
  const good = minted();

  /** A ring that tells how often it was asked. */
  function ring() {
    const asked: string[] = [];
    const findKey = async (id: string) => {
      asked.push(id);
      return id === good.id ? good : null;
    };
    return { asked, port: { ...keys, findKey } };
  }

  async function guess(served: Served, times: number, from?: string): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (let count = 0; count < times; count += 1) {
      const call = { path, headers: bearer(`guess-${count}`) };
      answers.push(await served.call(from === undefined ? call : { ...call, from }));
    }
    return answers;
  }

  test('is soon told to stop, and nobody is asked about what was guessed', async () => {
    const { asked, port } = ring();
    const refused: string[] = [];
    await using served = await serve({ limits, apiKey: setting, keys: port, onRefused: (why) => refused.push(why) });
    for (const answer of await guess(served, 5)) expectProblem(answer, 401, 'unauthorized');
    for (const answer of await guess(served, 3)) {
      expectProblem(answer, 429, 'too-many-requests');
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(3_500);
    }
    expect(asked).toEqual([]);
    expect(refused).toEqual(['wrong-keys', 'wrong-keys', 'wrong-keys']);
    // Without a key nothing is guessed, and what is open is open.
    expectProblem(await served.call({ path }), 401, 'unauthorized');
    expect((await served.call({ path: '/healthz' })).status).toBe(200);
  });

  test('shuts out nobody at the same address whose key is right, though none has been seen there before', async () => {
    const { port } = ring();
    await using served = await serve({ limits, apiKey: setting, keys: port });
    await guess(served, 10);
    for (const key of [good.key, setting, good.key, setting]) {
      expect((await served.call({ path, headers: bearer(key) })).status).toBe(200);
    }
    expectProblem(await served.call({ path, headers: bearer('wrong') }), 429, 'too-many-requests');
  });

  test('in the form of a stored key is told that it is wrong, and nothing else, however often', async () => {
    const { asked, port } = ring();
    await using served = await serve({ limits, apiKey: setting, keys: port });
    for (let count = 0; count < 10; count += 1) {
      expectProblem(await served.call({ path, headers: bearer(minted().key) }), 401, 'unauthorized');
    }
    expect(asked).toHaveLength(10);
    expectProblem(await served.call({ path, headers: bearer('wrong') }), 401, 'unauthorized');
  });

  test('is counted by address, and only in a window', async () => {
    const { port } = ring();
    await using served = await serve({ limits: { ...limits, failuresWindowMs: 2_000 }, apiKey: setting, keys: port });
    const status = async () => (await served.call({ path, headers: bearer('wrong') })).status;
    const waits = { timeout: 20_000 };
    await expect.poll(status, waits).toBe(429);
    for (const answer of await guess(served, 1, '127.0.0.2')) expectProblem(answer, 401, 'unauthorized');
    await expect.poll(status, waits).toBe(401);
  });
});

test('of keys no more are looked up at once than requests are worked on, and API_KEY waits for nobody', async () => {
  const mayFind = Promise.withResolvers<void>();
  let asked = 0;
  const findKey = async (): Promise<null> => {
    asked += 1;
    await mayFind.promise;
    return null;
  };
  const refused: string[] = [];
  const deps = { limits: { requestsMax: 3 }, apiKey: setting, keys: { ...keys, findKey } };
  await using served = await serve({ ...deps, onRefused: (why) => refused.push(why) });
  const ask = (key: string) => served.call({ path, headers: bearer(key) });
  const waiting = Array.from({ length: 3 }, () => ask(minted().key));
  await expect.poll(() => asked, { timeout: 20_000 }).toBe(3);
  expectProblem(await ask(minted().key), 503, 'overloaded');
  expect((await ask(setting)).status).toBe(200);
  expect(asked).toBe(3);
  mayFind.resolve();
  for (const answer of await Promise.all(waiting)) expectProblem(answer, 401, 'unauthorized');
  expectProblem(await ask(minted().key), 401, 'unauthorized');
  expect(refused).toEqual(['overloaded']);
});
