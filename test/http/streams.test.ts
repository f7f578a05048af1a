import { describe, expect, test } from 'vitest';
import type { UserId } from '../../src/core/ids.ts';
import { until } from '../support/until.ts';
import { expectProblem } from './serve.ts';
import { openWorld, positions, upTo } from './stream-world.ts';

test('a stream begins now, and tells what comes with its position as the id', async () => {
  await using world = await openWorld();
  world.log.append({}, {});
  await using reader = await world.open('/events/stream');
  expect(reader.status).toBe(200);
  expect(reader.headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
  await until('the place of the stream', () => reader.lastEventId() === '2');
  world.log.append({ type: 'session.ended', reason: 'will' }, {});
  world.streams.feed.hint();
  const [first, second] = await reader.messagesWhen(2);
  expect(first).toEqual({
    type: '',
    id: '3',
    data: {
      position: 3,
      sequence: 3,
      type: 'session.ended',
      userId: 'ada',
      sessionId: 'phone',
      epoch: null,
      reason: 'will',
      device: null,
      at: '2026-11-23T10:00:00.000Z',
    },
  });
  expect(second).toMatchObject({ id: '4', data: { position: 4 } });
});

describe('a stream that begins in the past', () => {
  test.each([
    ['?after=', '/events/stream?after=3', {}],
    ['Last-Event-ID', '/events/stream', { 'last-event-id': '3' }],
    ['Last-Event-ID, whatever ?after= repeats,', '/events/stream?after=1', { 'last-event-id': '3' }],
    ['an empty Last-Event-ID is none, and ?after=', '/events/stream?after=3', { 'last-event-id': '' }],
  ])('by %s is told everything behind it once, over many pages, and goes on', async (_, path, headers) => {
    await using world = await openWorld();
    world.log.append(...Array.from({ length: 2_000 }, () => ({})));
    await using reader = await world.open(path, headers);
    await reader.messagesWhen(1_997);
    world.log.append({});
    world.streams.feed.hint();
    expect(positions(await reader.messagesWhen(1_998))).toEqual(upTo(2_001, 4));
  });

  test('behind what is kept is told where to begin, before it is a stream', async () => {
    await using world = await openWorld();
    world.log.append({}, {}, {}, {});
    world.log.trimmed = 3;
    const answer = await world.served.call({ path: '/events/stream?after=2' });
    expect(expectProblem(answer, 410, 'events-gone')).toMatchObject({ after: 3 });
    await using reader = await world.open('/events/stream?after=3');
    expect(positions(await reader.messagesWhen(1))).toEqual([4]);
  });

  test('beyond the end of the log is told where that is, and which parameter says so', async () => {
    await using world = await openWorld();
    world.log.append({}, {});
    const byQuery = await world.served.call({ path: '/events/stream?after=3' });
    const detail = 'must not be beyond the end of the log, which is 2';
    expect(expectProblem(byQuery, 400, 'bad-input')).toMatchObject({
      head: 2,
      errors: [{ in: 'query', name: 'after', detail }],
    });
    const byHeader = await world.served.call({ path: '/events/stream', headers: { 'last-event-id': '3' } });
    expect(expectProblem(byHeader, 400, 'bad-input')).toMatchObject({
      head: 2,
      errors: [{ in: 'header', name: 'Last-Event-ID', detail }],
    });
  });

  test.each(['-1', '1.5', 'abc', '1e3', '9'.repeat(16), '0x10'])('and %j is no place at all', async (garbage) => {
    await using world = await openWorld();
    const byHeader = await world.served.call({ path: '/events/stream', headers: { 'last-event-id': garbage } });
    expect(expectProblem(byHeader, 400, 'bad-input').detail).toContain('last-event-id');
    expectProblem(await world.served.call({ path: `/events/stream?after=${garbage}` }), 400, 'bad-input');
  });
});

describe('filters', () => {
  const ask = async (query: string) => {
    await using world = await openWorld();
    const ben = 'ben' as UserId;
    world.log.append({}, { userId: ben }, { type: 'session.ended' }, { userId: ben, type: 'user.offline' }, {});
    await using reader = await world.open(`/events/stream?after=0&${query}`);
    // From the past and from the end of the log alike.
    await until('the end of the log', () => world.streams.events.lagEvents === 0);
    world.log.append({}, { userId: ben }, { type: 'session.ended' }, { userId: ben, type: 'user.offline' }, {});
    world.log.append({ type: 'user.offline', userId: ben });
    world.streams.feed.hint();
    await until('the last event', () => positions(reader.messages).includes(11));
    return positions(reader.messages);
  };

  test('by type, with commas or given again, and by user, leave the others out', async () => {
    expect(await ask('type=user.offline')).toEqual([4, 9, 11]);
    expect(await ask('type=session.ended,user.offline')).toEqual([3, 4, 8, 9, 11]);
    expect(await ask('type=session.ended&type=user.offline')).toEqual([3, 4, 8, 9, 11]);
    expect(await ask('user=ben')).toEqual([2, 4, 7, 9, 11]);
    expect(await ask('user=ben&type=user.offline')).toEqual([4, 9, 11]);
  });

  test('that mean nothing are refused', async () => {
    await using world = await openWorld();
    for (const query of ['type=user.asleep', 'type=', 'user=', 'since=3', 'limit=3']) {
      expectProblem(await world.served.call({ path: `/events/stream?${query}` }), 400, 'bad-input');
    }
  });
});

test('a reader who wants nothing of what happens has a newer place with every beat, and nothing is dispatched', async () => {
  await using world = await openWorld({ beatMs: 60 });
  await using reader = await world.open('/events/stream?user=nobody');
  world.log.append({}, {}, {});
  world.streams.feed.hint();
  await until('a newer place', () => reader.lastEventId() === '3');
  const before = reader.beats();
  await until('further beats', () => reader.beats() > before + 2);
  expect(reader.messages).toEqual([]);
});

test('HEAD of a stream is its head, at once', async () => {
  await using world = await openWorld();
  for (const path of ['/events/stream', '/users/ada/presence/stream']) {
    const answer = await world.served.call({ method: 'HEAD', path });
    expect(answer).toMatchObject({ status: 200, body: '' });
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expectProblem(await world.served.call({ method: 'POST', path }), 405, 'method-not-allowed');
  }
  expect(world.streams.streams.countOf('events')).toBe(0);
});

test('a page of a named origin may read a stream', async () => {
  const origin = 'https://app.example.com';
  await using world = await openWorld({}, { allowedOrigins: [origin] });
  await using reader = await world.open('/events/stream', { origin });
  expect(reader.headers).toMatchObject({ 'access-control-allow-origin': origin, vary: 'Origin' });
});
