import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { UserId } from '../../src/core/ids.ts';
import type { presenceBody } from '../../src/http/render.ts';
import { openSse } from '../support/sse.ts';
import { until } from '../support/until.ts';
import { offline } from './memory-log.ts';
import { openWorld, upTo } from './stream-world.ts';

describe('the presence of a user', () => {
  type Body = ReturnType<typeof presenceBody>;

  test('is told as it is, and again when an event or a beat finds it changed', async () => {
    let known = offline('ada' as UserId);
    await using world = await openWorld({ beatMs: 150 }, { presence: async () => known });
    world.log.append({});
    await using reader = await openSse<Body>(`${world.served.url}/users/ada/presence/stream`);
    expect((await reader.messagesWhen(1))[0]).toMatchObject({ id: '1', data: { userId: 'ada', status: 'offline' } });
    // Nothing has changed but when that was heard.
    known = { ...known, asOfMs: 1 };
    world.log.append({}, { userId: 'ben' as UserId });
    world.streams.feed.hint();
    const before = reader.beats();
    await until('beats', () => reader.beats() > before + 2);
    expect(reader.messages).toHaveLength(1);
    // No event tells this.
    known = { ...known, isStale: true };
    expect((await reader.messagesWhen(2))[1]).toMatchObject({ data: { stale: true } });
    known = { ...known, status: 'online' };
    world.log.append({});
    world.streams.feed.hint();
    expect((await reader.messagesWhen(3))[2]).toMatchObject({ id: '4', data: { status: 'online', stale: true } });
  });

  test('is read once for all who follow it, and the newest alone waits for who is slow', async () => {
    let sequence = 0;
    let reads = 0;
    const device = { text: 'x'.repeat(1_000) };
    const session = {
      sessionId: 's',
      status: 'online',
      epoch: 1,
      clientId: null,
      device,
      startedAtMs: 0,
      lastSeenAtMs: 0,
    };
    const read = async (userId: UserId) => {
      reads += 1;
      const sessions = Array.from({ length: 2_000 }, () => session) as never;
      return { ...offline(userId), sequence, sessions };
    };
    await using world = await openWorld({}, { presence: read });
    const path = `${world.served.url}/users/ada/presence/stream`;
    const readers = await Promise.all(upTo(3).map(() => openSse<Body>(path)));
    const [slow, ...others] = readers as [(typeof readers)[0], ...typeof readers];
    await Promise.all(readers.map((reader) => reader.messagesWhen(1)));
    slow.pause();
    const before = reads;
    for (const next of upTo(12)) {
      sequence = next;
      world.log.append({});
      world.streams.feed.hint();
      await Promise.all(
        others.map((reader) => until('the newest', () => reader.messages.at(-1)?.data.sequence === next)),
      );
    }
    expect(reads - before).toBeLessThan(2 * 12 + 4);
    slow.resume();
    await until('the newest', () => slow.messages.at(-1)?.data.sequence === 12);
    expect(slow.messages.length).toBeLessThan(12);
    for (const reader of readers) reader.leave();
  });

  test('waits for room where a crowd that takes nothing has taken it, and no longer', async () => {
    const limits = { allUnsentBytesMax: 16 * 1024, stuckMsMin: 1_000, beatMs: 1_500 };
    await using world = await openWorld(limits);
    world.log.append(...Array.from({ length: 20_000 }, () => ({ device: { text: 'x'.repeat(900) } })));
    await using stuck = await world.open('/events/stream?after=0');
    stuck.pause();
    await until('what fits is written, and more waits', async () => {
      const before = world.streams.sent();
      await delay(100);
      return world.streams.sent() === before && !world.streams.streams.room.isThere;
    });
    await using reader = await openSse<Body>(`${world.served.url}/users/ben/presence/stream`);
    expect((await reader.messagesWhen(1))[0]?.data).toMatchObject({ userId: 'ben', status: 'offline' });
    // Not before somebody gave way.
    expect(world.streams.closed).toEqual(['slow']);
    expect(world.streams.streams.room.isThere).toBe(true);
  });
});
