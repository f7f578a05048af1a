// Who is connected, and who gives way.

import { afterEach, expect, test } from 'vitest';
import { held } from './held.ts';
import { get, type Line, openLine, statusesOf } from './lines.ts';
import { serve } from './serve.ts';

const waits = { timeout: 20_000 };
const lines: Line[] = [];

async function open(port: number, count: number): Promise<readonly Line[]> {
  const opened: Line[] = [];
  for (let n = 0; n < count; n += 1) opened.push(await openLine(port));
  lines.push(...opened);
  return opened;
}

const ask = async (line: Line | undefined): Promise<void> => {
  const before = statusesOf(line?.heard() ?? '').length;
  line?.socket.write(get('/users/ada/presence'));
  await expect.poll(() => statusesOf(line?.heard() ?? '').length, waits).toBe(before + 1);
  expect(statusesOf(line?.heard() ?? '').at(-1)).toBe(200);
};

afterEach(() => {
  for (const { socket } of lines.splice(0)) socket.destroy();
});

test('when all places are taken, one that only sits gives way to a newcomer, and those that are in use stay', async () => {
  const dismissed: string[] = [];
  await using served = await serve({ limits: { connectionsMax: 10 }, onRefused: (why) => dismissed.push(why) });
  const used = await open(served.port, 3);
  for (const line of used) await ask(line);
  const idle = await open(served.port, 7);
  for (let round = 1; round <= 7; round += 1) {
    const [newcomer] = await open(served.port, 1);
    await ask(newcomer);
    await expect.poll(() => idle.filter(({ isOver }) => isOver()).length, waits).toBe(round);
    for (const line of used) await ask(line);
  }
  expect(used.map(({ isOver }) => isOver())).toEqual([false, false, false]);
  expect(dismissed).toEqual(Array.from({ length: 7 }, () => 'gave-way'));
});

test('when nobody can give way, a newcomer is told that there is no room, and nobody who waits for an answer loses it', async () => {
  const { listSessions, askedTimes, mayAnswer } = held();
  const dismissed: string[] = [];
  const onRefused = (why: string) => void dismissed.push(why);
  await using served = await serve({ limits: { connectionsMax: 5 }, listSessions, onRefused });
  const busy = await open(served.port, 5);
  for (const { socket } of busy) socket.write(get('/users/ada/sessions'));
  await askedTimes(5);
  const [newcomer] = await open(served.port, 1);
  await expect.poll(() => newcomer?.isOver(), waits).toBe(true);
  expect(statusesOf(newcomer?.heard() ?? '')).toEqual([503]);
  expect(newcomer?.heard()).toMatch(/retry-after: \d+\r\n[^]*urn:willow:problem:overloaded/u);
  mayAnswer.resolve();
  await expect.poll(() => busy.map(({ heard }) => statusesOf(heard())), waits).toEqual(busy.map(() => [200]));
  const [late] = await open(served.port, 1);
  await ask(late);
  expect(dismissed).toEqual(['no-room', 'gave-way']);
});

test('however many calls are under way, on connections older than it, one on which nothing is asked gives way to a newcomer', async () => {
  const { listSessions, askedTimes, mayAnswer } = held();
  const dismissed: string[] = [];
  const onRefused = (why: string) => void dismissed.push(why);
  await using served = await serve({ limits: { connectionsMax: 103 }, listSessions, onRefused });
  const busy = await open(served.port, 100);
  for (const { socket } of busy) socket.write(get('/users/ada/sessions'));
  await askedTimes(busy.length);
  const idle = await open(served.port, 3);
  const newcomers = await open(served.port, 3);
  for (const newcomer of newcomers) await ask(newcomer);
  await expect.poll(() => idle.map(({ isOver }) => isOver()), waits).toEqual([true, true, true]);
  mayAnswer.resolve();
  await expect.poll(() => busy.map(({ heard }) => statusesOf(heard())), waits).toEqual(busy.map(() => [200]));
  // Once they are over, their connections are as all others, and give way.
  const later: Line[] = [];
  for (let n = 0; n < 10; n += 1) {
    later.push(...(await open(served.port, 1)));
    await ask(later.at(-1));
  }
  expect(later.filter(({ isOver }) => isOver())).toEqual([]);
  expect(dismissed).toEqual(Array.from({ length: 13 }, () => 'gave-way'));
});

test('however many connections were used a moment ago, one of them gives way to a newcomer', async () => {
  const dismissed: string[] = [];
  await using served = await serve({ limits: { connectionsMax: 200 }, onRefused: (why) => dismissed.push(why) });
  const used = await open(served.port, 200);
  await Promise.all(used.map(ask));
  const [newcomer] = await open(served.port, 1);
  await ask(newcomer);
  await expect.poll(() => used.filter(({ isOver }) => isOver()).length, waits).toBe(1);
  expect(dismissed).toEqual(['gave-way']);
});

test('those who show no key give way, however much they ask and whatever they wait for, and those with a key stay', async () => {
  const key = 'willow-key-0123456789abcdef';
  const may = get('/users/ada/presence').replace('\r\n', `\r\nAuthorization: Bearer ${key}\r\n`);
  const isReady = Promise.withResolvers<void>();
  const dismissed: string[] = [];
  await using served = await serve({
    apiKey: key,
    limits: { connectionsMax: 9 },
    ready: async () => {
      await isReady.promise;
      return { isReady: true, checks: {} };
    },
    onRefused: (why) => dismissed.push(why),
  });
  const answered = async (line: Line, says: string, status: number): Promise<void> => {
    const before = statusesOf(line.heard()).length;
    line.socket.write(says);
    await expect.poll(() => statusesOf(line.heard()).slice(before), waits).toEqual([status]);
  };
  const strangers = await open(served.port, 9);
  const askAll = async (): Promise<void> => {
    for (const [index, line] of strangers.entries()) {
      if (line.isOver() || index >= 6) continue;
      if (index % 3 === 0) await answered(line, get('/healthz'), 200);
      if (index % 3 === 1) await answered(line, get('/users/ada/presence'), 401);
      if (index % 3 === 2) await answered(line, get('/nowhere'), 404);
    }
  };
  for (const { socket } of strangers.slice(6)) socket.write(get('/readyz'));
  const callers: Line[] = [];
  for (let round = 1; round <= 9; round += 1) {
    await askAll();
    const [caller] = await open(served.port, 1);
    if (caller !== undefined) callers.push(caller);
    for (const line of callers) await answered(line, may, 200);
    await expect.poll(() => strangers.filter(({ isOver }) => isOver()).length, waits).toBe(round);
  }
  expect(dismissed).toEqual(Array.from({ length: 9 }, () => 'gave-way'));
  isReady.resolve();
});

test('a place is free again when its connection is over', async () => {
  const dismissed: string[] = [];
  await using served = await serve({ limits: { connectionsMax: 3 }, onRefused: (why) => dismissed.push(why) });
  for (let round = 0; round < 10; round += 1) {
    const three = await open(served.port, 3);
    for (const line of three) await ask(line);
    for (const { socket } of three) socket.destroy();
    await expect.poll(() => served.connections(), waits).toBe(0);
  }
  expect(dismissed).toEqual([]);
});
