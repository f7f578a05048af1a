import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call, type ProblemBody, readPages } from '../support/http.ts';
import { startPostgres } from '../support/postgres.ts';
import {
  announced,
  announcedWhen,
  countedWhen,
  openStage,
  type Stage,
  settled,
  startListening,
} from '../support/stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '3600000', REPEAT_WINDOW_MS: '0' });
});

afterAll(() => stage[Symbol.asyncDispose]());

const at = (path: string) => `${stage.willow.http}${path}`;
const kick = (path: string) => call<ProblemBody | null>(at(path), { method: 'DELETE' });

test('a user never seen is an answer, not an error: offline, with nothing known', async () => {
  await settled(stage.willow, stage.voice);
  const { status, body } = await call(at('/users/nobody/presence'));
  expect(status).toBe(200);
  expect(body).toEqual({
    userId: 'nobody',
    status: 'offline',
    since: null,
    lastSeenAt: null,
    sequence: 0,
    sessions: [],
    asOf: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string,
    stale: false,
  });
  expect(await call(at('/users/nobody/sessions'))).toMatchObject({ status: 200, body: { data: [], nextCursor: null } });
  expect(await call(at('/users/nobody/events'))).toMatchObject({ status: 200, body: { data: [], nextCursor: null } });
});

test('presence tells who is there since when, with which devices', async () => {
  const { willow, voice } = stage;
  const beforeMs = Date.now();
  await voice.say('/login/ann/phone', { epoch: 3, clientId: 'c-1', device: { os: 'android', tags: ['a'] } });
  await voice.say('/login/ann/tablet', { epoch: 4 });
  await announcedWhen(willow, 'ann', 3);
  const presence = await willow.presence('ann');
  expect(presence).toMatchObject({ userId: 'ann', status: 'online', sequence: 3, stale: false });
  const byId = Object.fromEntries(presence.sessions.map((session) => [session.sessionId, session]));
  expect(byId).toMatchObject({
    phone: { status: 'online', epoch: 3, clientId: 'c-1', device: { os: 'android', tags: ['a'] } },
    tablet: { status: 'online', epoch: 4, clientId: null, device: null },
  });
  for (const time of [presence.since, presence.lastSeenAt, presence.asOf, byId['phone']?.startedAt]) {
    expect(Date.parse(time ?? '')).toBeGreaterThanOrEqual(beforeMs);
    expect(Date.parse(time ?? '')).toBeLessThanOrEqual(Date.now());
  }
  expect(presence.since).toBe(byId['phone']?.startedAt);
});

describe('lists', () => {
  const sessions = Array.from({ length: 7 }, (_, index) => `s-${index}`);

  beforeAll(async () => {
    const { willow, voice } = stage;
    for (const session of sessions) await voice.say(`/login/lister/${session}`, { epoch: 1 });
    await voice.say('/logout/lister/s-2', { epoch: 1, reason: 'logout' });
    await voice.say('/logout/lister/s-5', { epoch: 1 });
    await settled(willow, voice);
  });

  test('sessions are listed newest first, ended ones too with their reason, page by page without a gap', async () => {
    type SessionBody = { sessionId: string; status: string; reason?: string; endedAt?: string; startedAt: string };
    const { items, pages } = await readPages<SessionBody>(at('/users/lister/sessions'), 3);
    expect(pages).toBe(3);
    expect(items.map(({ sessionId }) => sessionId).toSorted((a, b) => a.localeCompare(b))).toEqual(sessions);
    const starts = items.map(({ startedAt }) => startedAt);
    expect(starts).toEqual(starts.toSorted((a, b) => b.localeCompare(a)));
    const byId = Object.fromEntries(items.map((item) => [item.sessionId, item]));
    expect(byId['s-2']).toMatchObject({ status: 'ended', reason: 'logout', endedAt: expect.any(String) as string });
    expect(byId['s-5']).toMatchObject({ status: 'lost' });
    expect(byId['s-0']).not.toHaveProperty('reason');
  });

  test('the presence of a user leaves ended sessions out', async () => {
    const { sessions: live } = await stage.willow.presence('lister');
    expect(live.map(({ sessionId }) => sessionId)).not.toContain('s-2');
    expect(live).toHaveLength(6);
  });

  test('events are listed oldest first, page by page without a gap, and a limit that fits leaves no cursor', async () => {
    type Event = { sequence: number; position: number; type: string; userId: string };
    const { items, pages } = await readPages<Event>(at('/users/lister/events'), 2);
    expect(items.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(pages).toBe(5);
    const positions = items.map(({ position }) => position);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
    expect(await readPages<Event>(at('/users/lister/events'), 9)).toMatchObject({ pages: 1 });
    // `reason` is there on ends only.
    for (const event of items) expect('reason' in event).toBe(event.type === 'session.ended');
  });
});

describe('a kick', () => {
  test('ends the one session at once, with no grace; its later will is a repeat', async () => {
    const { willow, voice } = stage;
    const identity = (sessionId: string) => ({ userId: 'kicked', sessionId, epoch: 9 });
    await voice.say('/login', identity('phone'));
    await voice.say('/login', identity('tablet'));
    await announcedWhen(willow, 'kicked', 3);
    expect((await kick('/users/kicked/sessions/phone')).status).toBe(204);
    expect((await announced(willow, 'kicked')).slice(3)).toEqual(['session.ended phone 9 kicked']);
    const repeats = await willow.metric('willow_signals_total', { kind: 'will', outcome: 'repeat' });
    await voice.say('/logout', identity('phone'));
    await countedWhen(willow, 'willow_signals_total', { kind: 'will', outcome: 'repeat' }, repeats + 1);
    expect(await announced(willow, 'kicked')).toHaveLength(4);
    expect((await willow.presence('kicked')).sessions).toMatchObject([{ sessionId: 'tablet' }]);
  });

  test('of a user ends every live session, and a bare will after it is a repeat until the next login', async () => {
    const { willow, voice } = stage;
    for (const session of ['a', 'b']) await voice.say(`/login/all/${session}`);
    await announcedWhen(willow, 'all', 3);
    expect((await kick('/users/all/sessions')).status).toBe(204);
    const events = await announced(willow, 'all');
    expect(events.slice(3).map((event) => event.split(' ')[0])).toEqual([
      'session.ended',
      'session.ended',
      'user.offline',
    ]);
    expect(events.slice(3).every((event) => event.endsWith(' kicked'))).toBe(true);
    await voice.say('/logout', 'all');
    await settled(willow, voice);
    expect(await announced(willow, 'all')).toHaveLength(6);
    await voice.say('/login/all/a');
    expect(await announcedWhen(willow, 'all', 8)).toHaveLength(8);
  });

  test('of what is not there is 404 for a session, and nothing to do for a user', async () => {
    expect(await kick('/users/nobody/sessions/phone')).toMatchObject({
      status: 404,
      body: { type: 'urn:willow:problem:unknown-session', status: 404 },
    });
    expect((await kick('/users/nobody/sessions')).status).toBe(204);
    expect(await announced(stage.willow, 'nobody')).toEqual([]);
  });

  test('twenty at once are twenty answers and one end', async () => {
    const { willow, voice } = stage;
    await voice.say('/login/popular/phone', { epoch: 1 });
    await announcedWhen(willow, 'popular', 2);
    const answers = await Promise.all(Array.from({ length: 20 }, () => kick('/users/popular/sessions')));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 204));
    expect(await announced(willow, 'popular')).toHaveLength(4);
  });
});

const badRequests: readonly (readonly [what: string, path: string, type: string])[] = [
  ['a user with U+0000', '/users/a%00b/presence', 'bad-input'],
  ['a user of 257 characters', `/users/${'x'.repeat(257)}/presence`, 'bad-input'],
  ['a session of 257 characters', `/users/ann/sessions/${'x'.repeat(257)}`, 'bad-input'],
  ['a limit of 0', '/users/ann/sessions?limit=0', 'bad-input'],
  ['a limit of 1001', '/users/ann/events?limit=1001', 'bad-input'],
  ['a limit that is no number', '/users/ann/events?limit=1e2', 'bad-input'],
  ['a cursor of its own', '/users/ann/events?cursor=abc', 'bad-cursor'],
];

test.each(badRequests)('%s is 400 and says what is wrong', async (_what, path, type) => {
  const method = path.includes('/sessions/') ? 'DELETE' : 'GET';
  const { status, headers, body } = await call<ProblemBody>(at(path), { method });
  expect(status).toBe(400);
  expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(body).toMatchObject({ type: `urn:willow:problem:${type}`, status: 400, title: expect.any(String) as string });
});

test('a cursor of another list is refused', async () => {
  const { body } = await call<{ nextCursor: string }>(at('/users/lister/sessions?limit=1'));
  const crossed = await call<ProblemBody>(at(`/users/lister/events?cursor=${body.nextCursor}`));
  expect(crossed).toMatchObject({ status: 400, body: { type: 'urn:willow:problem:bad-cursor' } });
});

test('a database that is gone is 503 with Retry-After, and readiness says which part is missing', async () => {
  {
    await using postgres = await startPostgres();
    await using willow = await startListening(stage.mosquitto, postgres, { MQTT_CLIENT_ID: 'orphan' });
    expect((await call(`${willow.http}/users/ann/presence`)).status).toBe(200);
    await postgres[Symbol.asyncDispose]();
    const { status, headers, body } = await call<ProblemBody>(`${willow.http}/users/ann/presence`);
    expect([status, body.type]).toEqual([503, 'urn:willow:problem:database-unavailable']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    const ready = await call<{ checks: { database: { ok: boolean } } }>(`${willow.http}/readyz`);
    expect(ready).toMatchObject({ status: 503, body: { checks: { database: { ok: false } } } });
    expect((await call(`${willow.http}/healthz`)).status).toBe(200);
  }
});
