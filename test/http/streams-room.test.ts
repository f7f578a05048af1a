import { expect, test } from 'vitest';
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
