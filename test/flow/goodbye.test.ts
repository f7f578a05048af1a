import { afterAll, beforeAll, expect, test } from 'vitest';
import { announced, announcedWhen, countedWhen, openStage, type Stage, settled } from '../support/stage.ts';
import { openVoice, withWill } from '../support/voice.ts';

let stage: Stage;

beforeAll(async () => {
  // Whatever waited for the grace would not be seen in this test.
  stage = await openStage({ GRACE_MS: '3600000' });
});

afterAll(() => stage[Symbol.asyncDispose]());

const identity = (userId: string) => ({ userId, sessionId: 'phone', epoch: 5 });
const lived = ['session.started phone 5', 'user.online phone 5'];
const left = ['session.ended phone 5 logout', 'user.offline phone 5 logout'];

const repeats = () => stage.willow.metric('willow_signals_total', { kind: 'will', outcome: 'repeat' });

/** Until the broker knows that the connection is over. */
async function closed(mosquittoKnows: string): Promise<void> {
  const { url } = stage.mosquitto;
  // The same client id again: whatever the broker still owed of the old connection, it has published by the CONNACK.
  await using _again = await openVoice(url, { clientId: mosquittoKnows });
}

test('a goodbye ends the session at once, and the clean DISCONNECT after it adds nothing', async () => {
  const { willow, voice, mosquitto } = stage;
  const repeatsBefore = await repeats();
  const device = await openVoice(mosquitto.url, { clientId: 'polite', ...withWill('/logout', identity('polite')) });
  await device.say('/login', identity('polite'));
  await device.say('/logout', { ...identity('polite'), reason: 'logout' });
  expect(await announcedWhen(willow, 'polite', 4)).toEqual([...lived, ...left]);
  await device.client.endAsync();
  await closed('polite');
  await settled(willow, voice);
  expect(await announced(willow, 'polite')).toEqual([...lived, ...left]);
  expect(await repeats()).toBe(repeatsBefore);
});

test('a goodbye that is followed by the will of the same connection is one end', async () => {
  const { willow, mosquitto } = stage;
  const repeatsBefore = await repeats();
  const device = await openVoice(mosquitto.url, { clientId: 'abrupt', ...withWill('/logout', identity('abrupt')) });
  await device.say('/login', identity('abrupt'));
  await device.say('/logout', { ...identity('abrupt'), reason: 'logout' });
  device.vanish();
  const repeat = { kind: 'will', outcome: 'repeat' };
  await countedWhen(willow, 'willow_signals_total', repeat, repeatsBefore + 1);
  expect(await announced(willow, 'abrupt')).toEqual([...lived, ...left]);
});

test('without epochs too, a goodbye and the will after it are one end', async () => {
  const { willow, mosquitto } = stage;
  const repeatsBefore = await repeats();
  const device = await openVoice(mosquitto.url, withWill('/logout', 'simple'));
  await device.say('/login', 'simple');
  await device.say('/logout', { userId: 'simple', reason: 'logout' });
  device.vanish();
  await countedWhen(willow, 'willow_signals_total', { kind: 'will', outcome: 'repeat' }, repeatsBefore + 1);
  expect(await announced(willow, 'simple')).toEqual([
    'session.started default 1',
    'user.online default 1',
    'session.ended default 1 logout',
    'user.offline default 1 logout',
  ]);
});

test('a goodbye cuts short the grace of a session that is lost already', async () => {
  const { willow, voice } = stage;
  await voice.say('/login', identity('late'));
  await voice.say('/logout', identity('late'));
  await willow.presenceWhen('late', ({ sessions }) => sessions[0]?.status === 'lost');
  await voice.say('/logout', { ...identity('late'), reason: 'logout' });
  expect(await announcedWhen(willow, 'late', 4)).toEqual([...lived, ...left]);
});

test('a goodbye of one device leaves the other online', async () => {
  const { willow, voice } = stage;
  await voice.say('/login', identity('two'));
  await voice.say('/login/two/tablet', { epoch: 6 });
  await voice.say('/logout/two/tablet', { epoch: 6, reason: 'logout' });
  const ended = ['session.started tablet 6', 'session.ended tablet 6 logout'];
  expect(await announcedWhen(willow, 'two', 4)).toEqual([...lived, ...ended]);
  expect((await willow.presence('two')).status).toBe('online');
});
