import { afterAll, beforeAll, expect, test } from 'vitest';
import { startMortal } from '../support/mortal.ts';
import { announced, announcedWhen, openStage, type Stage, settled } from '../support/stage.ts';
import { until } from '../support/until.ts';
import type { Willow } from '../support/willow.ts';

const briefWindowMs = 100;

let stage: Stage;
/** Its repeats are over in a moment, those of the stage's own Willow never. */
let brief: Willow;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '3600000', REPEAT_WINDOW_MS: '3600000' });
  brief = await stage.open({ GRACE_MS: '3600000', REPEAT_WINDOW_MS: String(briefWindowMs) });
});

afterAll(() => stage[Symbol.asyncDispose]());

const bareEnd = ['session.ended default - will', 'user.offline default - will'];

async function windowIsOver(userId: string): Promise<void> {
  const events = await brief.events(userId);
  const lastMs = Date.parse(events.at(-1)?.at ?? '');
  await until('the end of the repeat window', () => Date.now() > lastMs + briefWindowMs);
}

test('the will of a user who never logged in is announced at once, and said again it is a repeat', async () => {
  const { willow, voice, mosquitto } = stage;
  const will = { topic: '/logout', payload: '{unheard}' };
  const options = { port: mosquitto.port, version: 4, clientId: 'unheard', will } as const;
  await using mortal = await startMortal('mosquitto_sub', options);
  await mortal.die();
  expect(await announcedWhen(willow, 'unheard', 2)).toEqual(bareEnd);
  const [ended] = await willow.events('unheard');
  expect(ended).toMatchObject({ epoch: null, sessionId: 'default', reason: 'will' });

  await voice.say('/logout', 'unheard');
  await settled(willow, voice);
  expect(await announced(willow, 'unheard')).toHaveLength(2);
  expect(await willow.presence('unheard')).toMatchObject({ status: 'offline', sequence: 2, sessions: [] });
});

test('when the repeat window is over, the next will of a user who never logs in is announced again', async () => {
  const { voice } = stage;
  await voice.say('/logout', 'again');
  expect(await announcedWhen(brief, 'again', 2)).toEqual(bareEnd);
  await windowIsOver('again');
  await voice.say('/logout', 'again');
  expect(await announcedWhen(brief, 'again', 4)).toEqual([...bareEnd, ...bareEnd]);
});

test('with an epoch a repeat is known by the epoch, however late it comes', async () => {
  const { voice } = stage;
  const will = (epoch: number) => ({ userId: 'counted', sessionId: 'phone', epoch });
  const end = (epoch: number) => [`session.ended phone ${epoch} will`, `user.offline phone ${epoch} will`];
  await voice.say('/logout', will(7));
  expect(await announcedWhen(brief, 'counted', 2)).toEqual(end(7));
  await windowIsOver('counted');
  for (const epoch of [7, 3, 7]) await voice.say('/logout', will(epoch));
  await settled(brief, voice);
  expect(await announced(brief, 'counted')).toEqual(end(7));
  await voice.say('/logout', will(8));
  expect(await announcedWhen(brief, 'counted', 4)).toEqual([...end(7), ...end(8)]);
});

test('after a will nobody waited for, a birth starts a session as ever', async () => {
  const { willow, voice } = stage;
  await voice.say('/logout/reborn/phone', { epoch: 7 });
  // The birth that the will has outrun says nothing new; that of the next connection does.
  await voice.say('/login/reborn/phone', { epoch: 7 });
  await voice.say('/login/reborn/phone', { epoch: 8 });
  expect(await announcedWhen(willow, 'reborn', 4)).toEqual([
    'session.ended phone 7 will',
    'user.offline phone 7 will',
    'session.started phone 8',
    'user.online phone 8',
  ]);
});
