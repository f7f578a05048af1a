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
  expect(quota.spentForSeconds('ada', 1)).toBe(10);
  expect(quota.spentForSeconds('bob', 1)).toBeNull();
  expect(quota.take('ada', 9_999)).toEqual({ isOver: true, remaining: 0, resetSeconds: 1 });
  expect(quota.take('ada', 10_000)).toEqual({ isOver: false, remaining: 1, resetSeconds: 10 });
});

test('of those who come from everywhere no more than a bounded number is remembered', () => {
  const quota = new Quota({ max: 1, windowMs: 10_000 });
  quota.take('the first', 0);
  for (let count = 0; count < 99_999; count += 1) quota.take(`address ${count}`, 0);
  expect(quota.spentForSeconds('the first', 0)).toBe(10);
  quota.take('one more', 0);
  expect(quota.spentForSeconds('the first', 0)).toBeNull();
  expect(quota.spentForSeconds('one more', 0)).toBe(10);
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

  async function guess(served: Served, times: number): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (let count = 0; count < times; count += 1) {
      answers.push(await served.call({ path, headers: bearer(minted().key) }));
    }
    return answers;
  }

  test('is soon not listened to, whatever the key, and nobody is asked about it any more', async () => {
    const { asked, port } = ring();
    const refused: string[] = [];
    await using served = await serve({ limits, apiKey: setting, keys: port, onRefused: (why) => refused.push(why) });
    for (const answer of await guess(served, 5)) expectProblem(answer, 401, 'unauthorized');
    expect(asked).toHaveLength(5);
    for (const key of [minted().key, 'wrong', good.key, setting]) {
      const answer = await served.call({ path, headers: bearer(key) });
      expectProblem(answer, 429, 'too-many-requests');
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(3_500);
    }
    expect(asked).toHaveLength(5);
    expect(refused).toEqual(['wrong-keys', 'wrong-keys', 'wrong-keys', 'wrong-keys']);
    // Without a key nothing is guessed, and what is open is open.
    expectProblem(await served.call({ path }), 401, 'unauthorized');
    expect((await served.call({ path: '/healthz' })).status).toBe(200);
  });

  test('does not shut out those who come from the same address with a key that was right there before', async () => {
    const { port } = ring();
    await using served = await serve({ limits, apiKey: setting, keys: port });
    for (const key of [good.key, setting]) expect((await served.call({ path, headers: bearer(key) })).status).toBe(200);
    await guess(served, 5);
    expectProblem(await served.call({ path, headers: bearer('wrong') }), 429, 'too-many-requests');
    for (const key of [good.key, setting]) expect((await served.call({ path, headers: bearer(key) })).status).toBe(200);
  });

  test('is not let in again by a key that was right at another address only', async () => {
    const { port } = ring();
    await using served = await serve({ limits, apiKey: setting, keys: port });
    const from = '127.0.0.2';
    expect((await served.call({ path, headers: bearer(good.key) })).status).toBe(200);
    for (let count = 0; count < 5; count += 1) await served.call({ path, headers: bearer('wrong'), from });
    expectProblem(await served.call({ path, headers: bearer(good.key), from }), 429, 'too-many-requests');
    expect((await served.call({ path, headers: bearer(good.key) })).status).toBe(200);
  });

  test('does not shut out another address', async () => {
    const { port } = ring();
    await using served = await serve({ limits, apiKey: setting, keys: port });
    await guess(served, 6);
    const answer = await served.call({ path, headers: bearer(good.key), from: '127.0.0.2' });
    expect(answer.status).toBe(200);
  });

  test('is listened to again when the window is over', async () => {
    const { port } = ring();
    await using served = await serve({ limits: { ...limits, failuresWindowMs: 300 }, apiKey: setting, keys: port });
    await guess(served, 6);
    const answer = async () => (await served.call({ path, headers: bearer(good.key) })).status;
    await expect.poll(answer, { timeout: 20_000 }).toBe(200);
  });
});
