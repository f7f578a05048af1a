import { afterAll, beforeAll, expect, test } from 'vitest';
import { announced, announcedWhen, openStage, type Stage, settled } from '../support/stage.ts';
import { until } from '../support/until.ts';
import type { Willow } from '../support/willow.ts';

const shortWindowMs = 50;

let stage: Stage;
/** The window of the stage's own Willow never ends, the window of this one is over in a moment. */
let brief: Willow;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '100', TAKEOVER_WINDOW_MS: '3600000' });
  brief = await stage.open({ GRACE_MS: '100', TAKEOVER_WINDOW_MS: String(shortWindowMs) });
});

afterAll(() => stage[Symbol.asyncDispose]());

test('one bare will within the takeover window is that of the old connection; the second one is meant (I11)', async () => {
  const { willow, voice } = stage;
  const started = ['session.started default 1', 'user.online default 1'];
  await voice.say('/login', 'ann');
  await voice.say('/login', 'ann');
  await voice.say('/logout', 'ann');
  await settled(willow, voice);
  expect((await willow.presence('ann')).sessions).toMatchObject([{ sessionId: 'default', status: 'online', epoch: 2 }]);
  expect(await announced(willow, 'ann')).toEqual(started);
  expect(await willow.metric('willow_signals_total', { kind: 'will', outcome: 'stale' })).toBe(1);

  await voice.say('/logout', 'ann');
  const ended = ['session.ended default 2 will', 'user.offline default 2 will'];
  expect(await announcedWhen(willow, 'ann', 4)).toEqual([...started, ...ended]);
});

test('a bare will for one of two taken over devices leaves the other alone', async () => {
  const { willow, voice } = stage;
  for (const session of ['phone', 'tablet', 'phone', 'tablet']) await voice.say(`/login/bob/${session}`);
  await voice.say('/logout/bob/phone');
  await voice.say('/logout/bob/phone');
  await announcedWhen(willow, 'bob', 4);
  const { status, sessions } = await willow.presence('bob');
  expect(status).toBe('online');
  expect(sessions).toMatchObject([{ sessionId: 'tablet', status: 'online', epoch: 2 }]);
});

test('when the takeover window is over, the first bare will is meant', async () => {
  const { voice } = stage;
  await voice.say('/login', 'cleo');
  await voice.say('/login', 'cleo');
  const { lastSeenAt } = await brief.presenceWhen('cleo', ({ sessions }) => sessions[0]?.epoch === 2);
  await until('the end of the window', () => Date.now() > Date.parse(lastSeenAt ?? '') + shortWindowMs);
  await voice.say('/logout', 'cleo');
  expect(await announcedWhen(brief, 'cleo', 4)).toEqual([
    'session.started default 1',
    'user.online default 1',
    'session.ended default 2 will',
    'user.offline default 2 will',
  ]);
});
