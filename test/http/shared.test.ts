// What is never refused must not cost more because many ask for it.

import { expect, test, vi } from 'vitest';
import { restMsMax, shared } from '../../src/http/shared.ts';
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

test('whatever it took to make, what was true longer ago than a second is told to nobody', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    let made = 0;
    const ask = shared(async () => {
      vi.advanceTimersByTime(60_000);
      made += 1;
      return made;
    }, 2);
    expect(await ask()).toBe(1);
    vi.advanceTimersByTime(restMsMax - 1);
    expect(await ask()).toBe(1);
    vi.advanceTimersByTime(1);
    expect(await ask()).toBe(2);
  } finally {
    vi.useRealTimers();
  }
  expect(restMsMax).toBe(1_000);
});

test.each([0, 2])(
  'what fails is told to those who waited for it, and asked for again: rest factor %i',
  async (factor) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      let calls = 0;
      const ask = shared(async () => {
        vi.advanceTimersByTime(60_000);
        calls += 1;
        throw new Error(String(calls));
      }, factor);
      const both = [ask(), ask()];
      for (const one of both) await expect(one).rejects.toThrow('1');
      await expect(ask()).rejects.toThrow('2');
    } finally {
      vi.useRealTimers();
    }
  },
);
