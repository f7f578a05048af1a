import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { streamsMaxOf } from '../../src/http/streams.ts';
import { until } from '../support/until.ts';
import { openLine } from './lines.ts';
import { expectProblem } from './serve.ts';
import { openWorld, positions, upTo } from './stream-world.ts';

describe('a reader who takes nothing', () => {
  const device = { text: 'x'.repeat(900) };

  test('is ended with the reason before it costs more than its share, and loses nothing when it comes back', async () => {
    const unsentBytesMax = 64 * 1024;
    await using world = await openWorld({ stalledMsMax: 400, beatMs: 300, unsentBytesMax });
    const reader = await world.open('/events/stream');
    await using other = await world.open('/events/stream');
    await until('both', () => world.streams.streams.countOf('events') === 2);
    reader.pause();
    let unsent = 0;
    let count = 0;
    await until('its end', () => {
      if (count < 60_000) world.log.append(...Array.from({ length: 500 }, () => ({ device })));
      count = world.log.head;
      world.streams.feed.hint();
      unsent = Math.max(unsent, ...world.streams.streams.unsentBytes());
      return world.streams.closed.length > 0;
    });
    expect(world.streams.closed).toEqual(['slow']);
    // A page of 256 at the pace of its caller, or what is told at once.
    expect(unsent).toBeLessThanOrEqual(256 * 1_200);
    reader.resume();
    await reader.over();
    expect(reader.closing()).toEqual({ reason: 'slow' });
    const first = positions(reader.messages);
    expect(first).toEqual(upTo(first.length));
    expect(reader.lastEventId()).toBe(String(first.length));
    await using again = await world.open('/events/stream', { 'last-event-id': reader.lastEventId() });
    const left = world.log.head - first.length;
    expect(left).toBeGreaterThan(0);
    expect(positions(await again.messagesWhen(left))).toEqual(upTo(world.log.head, first.length + 1));
    // Who reads notices nothing of it.
    expect(positions(await other.messagesWhen(world.log.head))).toEqual(upTo(world.log.head));
  });

  test('for a while only is read to from the log again, and goes on without a gap', async () => {
    await using world = await openWorld({ unsentBytesMax: 16 * 1024 });
    await using reader = await world.open('/events/stream');
    reader.pause();
    await until('more than fits', () => {
      world.log.append(...Array.from({ length: 500 }, () => ({ device })));
      world.streams.feed.hint();
      return world.streams.events.lagEvents > 1_000;
    });
    reader.resume();
    const { head } = world.log;
    expect(positions(await reader.messagesWhen(head))).toEqual(upTo(head));
    expect(world.streams.closed).toEqual([]);
  });
});

describe.each([
  ['everybody', ''],
  ['one user', '&user=ada'],
])('a reader of %s', (_, query) => {
  test('whoever is overtaken by what is removed is told where to begin, and is told nothing with a gap', async () => {
    await using world = await openWorld({ unsentBytesMax: 16 * 1024 });
    world.log.append(...Array.from({ length: 20_000 }, () => ({ device: { text: 'x'.repeat(900) } })));
    await using reader = await world.open(`/events/stream?after=0${query}`);
    reader.pause();
    await until('what fits is written', async () => {
      const before = world.streams.sent();
      await delay(100);
      return world.streams.sent() > 0 && world.streams.sent() === before;
    });
    world.log.trimmed = 15_000;
    reader.resume();
    await reader.over();
    expect(reader.closing()).toEqual({ reason: 'gone', after: 15_000 });
    const told = positions(reader.messages);
    expect(told).toEqual(upTo(told.length));
    expect(told.length).toBeLessThan(15_000);
  });
});

test('whoever was at the end of the log, and is overtaken all the same, is told so as well', async () => {
  await using world = await openWorld();
  world.log.append({}, {}, {});
  await using reader = await world.open('/events/stream?after=0');
  await reader.messagesWhen(3);
  await until('the end of the log', () => world.streams.feed.position === 3);
  // A process that was stopped in between sees all of it at once.
  world.log.append(...Array.from({ length: 20 }, () => ({})));
  world.log.trimmed = 20;
  world.streams.feed.hint();
  await reader.over();
  expect(reader.closing()).toEqual({ reason: 'gone', after: 20 });
  expect(positions(reader.messages)).toEqual(upTo(3));
  await using again = await world.open('/events/stream?after=20');
  expect(positions(await again.messagesWhen(3))).toEqual([21, 22, 23]);
});

test('a process that cannot read the log gives no sign of life, and goes on where it was', async () => {
  await using world = await openWorld({ beatMs: 60 }, { currentMsMax: 600 });
  await using events = await world.open('/events/stream');
  await using presence = await world.open('/users/ada/presence/stream');
  await until('beats', () => events.beats() > 1 && presence.beats() > 1);
  world.log.isAway = true;
  await until('what is known is old', () => !world.streams.feed.isCurrent);
  const before = [events.beats(), presence.beats()];
  await delay(300);
  // One of each may have been on its way.
  expect(events.beats()).toBeLessThanOrEqual((before[0] ?? 0) + 1);
  expect(presence.beats()).toBeLessThanOrEqual((before[1] ?? 0) + 1);
  world.log.isAway = false;
  world.log.append({});
  await events.messagesWhen(1);
  const after = [events.beats(), presence.beats()];
  await until('beats again', () => events.beats() > (after[0] ?? 0) && presence.beats() > (after[1] ?? 0));
});

test('what is kept of the log for those who come after is bounded in bytes, and is let go with the last of them', async () => {
  await using world = await openWorld();
  const device = { text: 'x'.repeat(900) };
  world.log.append(...Array.from({ length: 40_000 }, () => ({ device })));
  const reader = await world.open('/events/stream?after=0');
  expect(positions(await reader.messagesWhen(40_000))).toEqual(upTo(40_000));
  expect(world.streams.feed.pages.keptBytes).toBeLessThan(34 * 1024 * 1024);
  expect(world.streams.feed.pages.keptBytes).toBeGreaterThan(1024 * 1024);
  await reader[Symbol.asyncDispose]();
  await until('nothing is kept', () => world.streams.feed.pages.keptBytes === 0);
});

test('streams take half of the connections at most, and those of one caller a quarter', () => {
  expect(streamsMaxOf(600)).toEqual({ streamsMax: 300, callerStreamsMax: 150 });
  expect(streamsMaxOf(20_000)).toEqual({ streamsMax: 5_000, callerStreamsMax: 2_500 });
});

test('a log that ends before what was told is said to: the database is an older one', async () => {
  await using world = await openWorld();
  world.log.append({}, {}, {});
  await using reader = await world.open('/events/stream');
  await until('the place of the stream', () => reader.lastEventId() === '3');
  world.log.events.length = 1;
  world.streams.feed.hint();
  await reader.over();
  expect(reader.closing()).toEqual({ reason: 'ahead', head: 1 });
  expectProblem(
    await world.served.call({ path: '/events/stream', headers: { 'last-event-id': '3' } }),
    400,
    'bad-input',
  );
});

describe('a process', () => {
  test('that stops ends its streams with the reason', async () => {
    const world = await openWorld();
    const readers = await Promise.all([world.open('/events/stream'), world.open('/users/ada/presence/stream')]);
    const fromMs = performance.now();
    await world[Symbol.asyncDispose]();
    expect(performance.now() - fromMs).toBeLessThan(5_000);
    for (const reader of readers) {
      await reader.over();
      expect(reader.closing()).toEqual({ reason: 'shutdown' });
    }
    expect(world.streams.closed).toEqual(['shutdown', 'shutdown']);
  });

  test('has a bound on streams, of one caller and of all, and room again when one has left', async () => {
    await using world = await openWorld({ streamsMax: 3, callerStreamsMax: 2 });
    const [first] = [await world.open('/events/stream'), await world.open('/users/ada/presence/stream')];
    const refused = await world.served.call({ path: '/events/stream' });
    expect(expectProblem(refused, 429, 'too-many-streams').detail).toBe('at most 2 at once');
    expect(refused.headers['retry-after']).toBeDefined();
    first.leave();
    await until('room', () => world.streams.streams.countOf('events') === 0);
    await using again = await world.open('/events/stream');
    expect(again.status).toBe(200);
  });

  test('reads nothing while nobody streams, and once for all who do', async () => {
    await using world = await openWorld();
    world.streams.feed.hint();
    await delay(50);
    expect(world.log.reads).toBe(0);
    const readers = await Promise.all(Array.from({ length: 20 }, () => world.open('/events/stream')));
    await until('all at the end', () => world.streams.events.lagEvents === 0);
    const before = world.log.reads;
    world.log.append({}, {});
    world.streams.feed.hint();
    await Promise.all(readers.map((reader) => reader.messagesWhen(2)));
    expect(world.log.reads - before).toBeLessThan(10);
  });
});

test('streams take no place of requests, and their connections do not give way, however many there are', async () => {
  const limits = { requestsMax: 2, connectionsMax: 102, unreadMsMax: 60_000 };
  const dismissed: string[] = [];
  const onRefused = (why: string) => void dismissed.push(why);
  await using world = await openWorld({ streamsMax: 100, callerStreamsMax: 100 }, { limits, onRefused });
  const readers: Awaited<ReturnType<typeof world.open>>[] = [];
  // One after the other: no more than two may ask at once.
  for (const _ of upTo(100)) readers.push(await world.open('/events/stream'));
  const idle = await Promise.all(upTo(10).map(() => openLine(world.served.port)));
  await until('all but two that are over', () => idle.filter(({ isOver }) => isOver()).length === 8);
  for (const { socket } of idle) socket.destroy();
  expect(dismissed).toEqual(upTo(8).map(() => 'gave-way'));
  expect((await world.served.call({ path: '/users/ada/presence' })).status).toBe(200);
  world.log.append({});
  world.streams.feed.hint();
  await Promise.all(readers.map((reader) => reader.messagesWhen(1)));
});
