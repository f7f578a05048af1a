import { afterAll, beforeAll, expect, test } from 'vitest';
import { announced, announcedWhen, openStage, type Stage } from '../support/stage.ts';
import { until } from '../support/until.ts';
import type { Willow } from '../support/willow.ts';

const hourMs = 3_600_000;
const briefLeaseMs = 1_500;

let stage: Stage;
/** Its leases are over in a moment, those of the stage's own Willow last. */
let brief: Willow;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '50', LEASE_MS: String(hourMs) });
  brief = await stage.open({ GRACE_MS: '50', LEASE_MS: String(briefLeaseMs) });
});

afterAll(() => stage[Symbol.asyncDispose]());

const identity = (userId: string) => ({ userId, sessionId: 'phone', epoch: 1 });
const started = ['session.started phone 1', 'user.online phone 1'];
const expired = ['session.ended phone 1 expired', 'user.offline phone 1 expired'];

async function deadlineMs(userId: string): Promise<number> {
  const { rows } = await stage.database.pool.query<{ deadline_at: Date }>(
    'select deadline_at from sessions where user_id = $1',
    [userId],
  );
  return rows[0]?.deadline_at.getTime() ?? 0;
}

test('a session without a sign of life expires when its lease is over', async () => {
  await stage.voice.say('/login', identity('silent'));
  const { lastSeenAt } = await brief.presenceWhen('silent', ({ status }) => status === 'online');
  const events = await announcedWhen(brief, 'silent', 4);
  expect(events).toEqual([...started, ...expired]);
  const [, , ended] = await brief.events('silent');
  expect(Date.parse(ended?.at ?? '')).toBeGreaterThan(Date.parse(lastSeenAt ?? '') + briefLeaseMs);
});

test('a sign of life renews the lease, and is no event', async () => {
  const { willow, voice } = stage;
  await voice.say('/login', identity('pulse'));
  const first = await willow.presenceWhen('pulse', ({ status }) => status === 'online');
  const firstDeadlineMs = await deadlineMs('pulse');
  expect(firstDeadlineMs).toBe(Date.parse(first.lastSeenAt ?? '') + hourMs);
  await until('a later deadline', async () => {
    await voice.say('/login', identity('pulse'));
    return (await deadlineMs('pulse')) > firstDeadlineMs;
  });
  const second = await willow.presence('pulse');
  expect(Date.parse(second.lastSeenAt ?? '')).toBeGreaterThan(Date.parse(first.lastSeenAt ?? ''));
  expect(second).toMatchObject({ sequence: 2, since: first.since });
  expect(await announced(willow, 'pulse')).toEqual(started);
});

test('a session with signs of life outlives its lease, and expires when they stop', async () => {
  const { voice } = stage;
  await voice.say('/login', identity('steady'));
  const { since } = await brief.presenceWhen('steady', ({ status }) => status === 'online');
  const outlivedMs = Date.parse(since ?? '') + 2 * briefLeaseMs;
  await until('twice the lease', async () => {
    await voice.say('/login', identity('steady'));
    return Date.now() > outlivedMs;
  });
  expect(await announced(brief, 'steady')).toEqual(started);
  expect(await announcedWhen(brief, 'steady', 4)).toEqual([...started, ...expired]);
});

test('a will ends a leased session by its grace, not by its lease', async () => {
  const { willow, voice } = stage;
  await voice.say('/login', identity('mortal'));
  await voice.say('/logout', identity('mortal'));
  expect((await announcedWhen(willow, 'mortal', 4)).slice(2)).toEqual([
    'session.ended phone 1 will',
    'user.offline phone 1 will',
  ]);
});
