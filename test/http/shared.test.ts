// What is never refused must not cost more because many ask for it.

import { expect, test } from 'vitest';
import { shared } from '../../src/http/shared.ts';
import { serve } from './serve.ts';

const times = <T>(count: number, one: () => T): T[] => Array.from({ length: count }, one);

test('however many ask at once whether the process is ready, it is looked at once', async () => {
  const mayAnswer = Promise.withResolvers<void>();
  let looks = 0;
  const ready = async () => {
    looks += 1;
    await mayAnswer.promise;
    return { isReady: true, checks: {} };
  };
  await using served = await serve({ ready });
  const all = times(100, () => served.call({ path: '/readyz' }));
  await expect.poll(() => looks, { timeout: 20_000 }).toBe(1);
  await expect.poll(() => served.connections(), { timeout: 20_000 }).toBe(100);
  mayAnswer.resolve();
  for (const { status } of await Promise.all(all)) expect(status).toBe(200);
  expect(looks).toBeLessThan(50);
  const before = looks;
  await served.call({ path: '/readyz' });
  expect(looks).toBe(before + 1);
});

test('what is dear to make is made a third of the time at most', async () => {
  let busyMs = 0;
  const make = async () => {
    const fromMs = performance.now();
    while (performance.now() - fromMs < 5);
    busyMs += performance.now() - fromMs;
  };
  const ask = shared(make, 2);
  const fromMs = performance.now();
  while (performance.now() - fromMs < 300) await ask();
  expect(busyMs).toBeGreaterThan(0);
  expect(busyMs / (performance.now() - fromMs)).toBeLessThan(0.4);
});

test('what fails is asked for again', async () => {
  let calls = 0;
  const ask = shared(async () => {
    calls += 1;
    throw new Error(String(calls));
  }, 0);
  await expect(ask()).rejects.toThrow('1');
  await expect(ask()).rejects.toThrow('2');
});
