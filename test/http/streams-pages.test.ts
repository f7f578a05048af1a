import { describe, expect, test } from 'vitest';
import type { UserId } from '../../src/core/ids.ts';
import { LogPages } from '../../src/http/log-pages.ts';
import { until } from '../support/until.ts';
import { MemoryLog } from './memory-log.ts';
import { openWorld, positions, upTo } from './stream-world.ts';

const ben = 'ben' as UserId;

describe('a reader of one user who is far behind', () => {
  test('is told all of that user once, and nobody else’s events are read for it', async () => {
    await using world = await openWorld();
    world.log.append(...Array.from({ length: 100_000 }, (_, n) => (n % 100 === 7 ? { userId: ben } : {})));
    await using reader = await world.open('/events/stream?after=500&user=ben');
    const told = positions(await reader.messagesWhen(995));
    expect(told).toEqual(upTo(1_000, 6).map((n) => n * 100 - 92));
    await until('the end of the log', () => world.streams.events.lagEvents === 0);
    world.log.append({}, { userId: ben });
    world.streams.feed.hint();
    expect(positions(await reader.messagesWhen(996)).at(-1)).toBe(100_002);
    // Four pages of his, and what is near the end of the log as for everybody.
    expect(world.log.questions).toBe(4);
    expect(world.log.reads).toBeLessThan(20);
  });

  test('and wants few types goes on where nothing of them is', async () => {
    await using world = await openWorld();
    world.log.append(...Array.from({ length: 10_000 }, () => ({ userId: ben })));
    await using reader = await world.open('/events/stream?after=0&user=ben&type=user.offline');
    await until('the end of the log', () => world.streams.events.lagEvents === 0);
    world.log.append({ userId: ben, type: 'user.offline' });
    world.streams.feed.hint();
    expect(positions(await reader.messagesWhen(1))).toEqual([10_001]);
  });
});

test.each([
  ['of everybody', ''],
  ['of one user', '&user=ada'],
])('what was to be read %s for readers who have left meanwhile is not read', async (_, query) => {
  await using world = await openWorld();
  world.log.append(...Array.from({ length: 30_000 }, () => ({})));
  const held = Promise.withResolvers<void>();
  let loads = 0;
  world.log.hold = () => {
    loads += 1;
    return held.promise;
  };
  // Each of them far from the others.
  const readers = await Promise.all(upTo(40).map((n) => world.open(`/events/stream?after=${n * 600}${query}`)));
  // With the one of what is at the end.
  await until('reads that take long', () => loads === 3);
  for (const reader of readers) reader.leave();
  await until('they have left', () => world.streams.streams.countOf('events') === 0);
  await using last = await world.open(`/events/stream?after=27000${query}`);
  held.resolve();
  await last.messagesWhen(3_000);
  // Those that were under way, and what the last one wants.
  expect(loads).toBeLessThan(3 + 20);
});

test('many who want the same page have it read once', async () => {
  const log = new MemoryLog();
  log.append(...Array.from({ length: 1_000 }, () => ({})));
  const pages = new LogPages(log);
  await pages.ends();
  const before = log.reads;
  const read = await Promise.all(upTo(50).map((n) => pages.after(768 + n, () => true)));
  expect(new Set(read).size).toBe(1);
  expect(read[0]?.frames.length).toBe(1_000 - 768);
  expect(log.reads - before).toBe(1);
});

test('the end of the log is read by a statement that begins when it is asked for, whatever is being read already', async () => {
  const log = new MemoryLog();
  log.append({}, {}, {});
  const pages = new LogPages(log);
  const held = Promise.withResolvers<void>();
  log.hold = () => held.promise;
  const behind = pages.after(1, () => true);
  await until('a read', () => log.reads === 1);
  // Committed when the answer to that was already made.
  log.append({});
  const newest = pages.newestAfter(3);
  held.resolve();
  expect((await behind).upTo).toBeGreaterThanOrEqual(3);
  expect((await newest).upTo).toBe(4);
});
