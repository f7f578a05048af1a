import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { UserId } from '../../src/core/ids.ts';
import { StreamRoom } from '../../src/http/stream-room.ts';
import { until } from '../support/until.ts';
import { openWorld, positions, upTo } from './stream-world.ts';

const kib = 1024;
const device = { text: 'x'.repeat(900) };
const sum = (bytes: readonly number[]) => bytes.reduce((all, one) => all + one, 0);

test('a crowd that takes nothing holds no more than all may hold together, and costs nobody else more than moments', async () => {
  const allUnsentBytesMax = 512 * kib;
  await using world = await openWorld({ allUnsentBytesMax, stuckMsMin: 200, beatMs: 300 });
  const events = 20_000;
  world.log.append(...Array.from({ length: events }, () => ({ device })));
  let most = 0;
  const watching = setInterval(() => {
    most = Math.max(most, sum(world.streams.streams.unsentBytes()));
  }, 1);
  // Each from a place of its own: no two hold the same bytes.
  const crowd = await Promise.all(upTo(30).map((n) => world.open(`/events/stream?after=${n}`)));
  for (const reader of crowd) reader.pause();
  // More than the crowd may hold.
  await until('a crowd that is stuck', () => world.streams.closed.length > 0);
  await using behind = await world.open('/events/stream?after=0');
  expect(positions(await behind.messagesWhen(events))).toEqual(upTo(events));
  world.log.append({ device });
  world.streams.feed.hint();
  expect(positions(await behind.messagesWhen(events + 1)).at(-1)).toBe(events + 1);
  clearInterval(watching);
  expect(new Set(world.streams.closed)).toEqual(new Set(['slow']));
  expect(world.streams.closed.length).toBeLessThanOrEqual(crowd.length);
  expect(behind.isOver()).toBe(false);
  // A slice beyond it, with what frames it, and heads of streams.
  expect(most).toBeLessThan(allUnsentBytesMax + 96 * kib);

  for (const reader of crowd) reader.resume();
  const cut = await until('one that gave way', () => crowd.find((reader) => reader.isOver()));
  const told = positions(cut.messages);
  const last = Number(cut.lastEventId());
  expect(told).toEqual(upTo(last, last - told.length + 1));
  await using again = await world.open('/events/stream', { 'last-event-id': cut.lastEventId() });
  expect(positions(await again.messagesWhen(events + 1 - last))).toEqual(upTo(events + 1, last + 1));
  for (const reader of crowd) reader.leave();
});

test('a crowd at the end of the log that takes nothing holds no more either, and those beside it are told at once', async () => {
  const allUnsentBytesMax = 512 * kib;
  const limits = { allUnsentBytesMax, unsentBytesMax: 256 * kib, stuckMsMin: 60_000 };
  await using world = await openWorld(limits);
  const crowd = await Promise.all(upTo(10).map(() => world.open('/events/stream')));
  await using well = await world.open('/events/stream');
  await until('all at the end', () => world.streams.events.lagEvents === 0);
  for (const reader of crowd) reader.pause();
  let most = 0;
  await until('a crowd that is stuck', async () => {
    world.log.append(...Array.from({ length: 60 }, () => ({ device })));
    world.streams.feed.hint();
    expect((await well.messagesWhen(world.log.head)).length).toBe(world.log.head);
    const held = sum(world.streams.streams.unsentBytes());
    most = Math.max(most, held);
    return held >= allUnsentBytesMax && world.streams.events.lagEvents > 600;
  });
  // Each may still be written what is told in the moment in which the bound is passed.
  expect(most).toBeLessThan(allUnsentBytesMax + crowd.length * 72 * kib);
  expect(world.streams.closed).toEqual([]);
  for (const reader of crowd) reader.leave();
});

const ben = 'ben' as UserId;

/** Somebody who reads so much as fast as it comes, and then again. */
function greedy(url: string, bytesMax: number): { readonly leave: () => void } {
  let isDone = false;
  const ask = () => {
    let bytes = 0;
    const asked = request(url, { agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bytesMax) reading.destroy();
      });
      response.on('error', () => undefined);
    });
    asked.on('error', () => undefined);
    asked.on('close', () => {
      if (!isDone) reading = ask();
    });
    return asked.end();
  };
  let reading = ask();
  return {
    leave: () => {
      isDone = true;
      reading.destroy();
    },
  };
}

test('whoever has to ask the database has his turn beside a crowd that reads well and fills the room, and nothing is read in vain', async () => {
  await using world = await openWorld({ allUnsentBytesMax: 512 * kib });
  const events = 10_000;
  world.log.append(...Array.from({ length: events }, (_, n) => (n % 4 === 0 ? { userId: ben } : { device })));
  world.log.hold = () => delay(5);
  const crowd = upTo(40).map(() => greedy(`${world.served.url}/events/stream?after=0`, 6 * kib * kib));
  const { room } = world.streams.streams;
  await until('a room that is full', () => world.streams.sent() > 4 * events && !room.isThere);
  let fullTimes = 0;
  const watching = setInterval(() => {
    if (!room.isThere) fullTimes += 1;
  }, 1);
  await using far = await world.open('/events/stream?after=0&user=ben');
  expect(positions(await far.messagesWhen(events / 4))).toEqual(upTo(events / 4).map((n) => n * 4 - 3));
  clearInterval(watching);
  for (const reader of crowd) reader.leave();
  // Each of his pages met it.
  expect(fullTimes).toBeGreaterThan(8);
  // Of his 2,500 events those before the last 2,048 of the log, 256 at a time.
  expect(world.log.questions).toBe(8);
});

test('streams that leave while they wait for room, or for what there is room for, give it to the next', async () => {
  // For one slice: whoever kept of it a byte would keep it from everybody.
  await using world = await openWorld({ allUnsentBytesMax: 64 * kib });
  const events = 3_000;
  world.log.append(...Array.from({ length: events }, () => ({ userId: ben })));
  const held = Promise.withResolvers<void>();
  world.log.hold = () => held.promise;
  const path = '/events/stream?after=0&user=ben';
  const open = async () => {
    const reader = await world.open(path);
    await until('its place', () => reader.lastEventId() === '0');
    return reader;
  };
  const reading = await open();
  await until('a read', () => world.log.questions === 1);
  const waiting = await Promise.all(upTo(5).map(open));
  const presence = await world.open('/users/ben/presence/stream');
  await using last = await open();
  for (const reader of [...waiting, reading]) reader.leave();
  await until('they have left', () => world.streams.streams.countOf('events') === 1);
  expect(world.log.questions).toBe(1);
  held.resolve();
  await presence.messagesWhen(1);
  presence.leave();
  expect(positions(await last.messagesWhen(events))).toEqual(upTo(events));
  // Four pages of his, before what is near the end of the log.
  expect(world.log.questions).toBe(1 + 4);
});

test('room that is too little for who came first is kept for him, and not given to those who want less', async () => {
  let counts = 0;
  const streams = () => {
    counts += 1;
    return [];
  };
  // For a slice and a half.
  const room = new StreamRoom({ allUnsentBytesMax: 96 * kib, stuckMsMin: 60_000 }, streams, () => undefined);
  const open = { isOpen: true };
  const giveBack = await room.reserve(open, 64 * kib);
  const served: string[] = [];
  const wait = async (name: string, bytes: number) => {
    const done = await room.reserve(open, bytes);
    served.push(name);
    done();
  };
  const all = [wait('first', 64 * kib), wait('second', 1)];
  await until('some counts', () => counts >= 3);
  expect(served).toEqual([]);
  giveBack();
  await Promise.all(all);
  expect(served).toEqual(['first', 'second']);
  await until('nobody waits', () => room.isThere);
});
