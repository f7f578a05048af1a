import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStage, type Stage } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice } from '../support/voice.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
});

afterAll(() => stage[Symbol.asyncDispose]());

const identity = (userId: string) => ({ userId, sessionId: 'phone', epoch: 1 });

/** From a connection of its own, since those of before do not outlive their broker. */
async function say(topic: string, payload: object): Promise<void> {
  await using voice = await openVoice(stage.mosquitto.url);
  await voice.say(topic, payload);
}

async function isStale(userId: string): Promise<boolean> {
  return (await stage.willow.presence(userId)).stale;
}

test('asOf is the time of the last packet from the broker, and moves with every one', async () => {
  const { willow } = stage;
  await say('/login', identity('ann'));
  const first = await willow.presenceWhen('ann', ({ status }) => status === 'online');
  const saidAtMs = await until('a later millisecond', () => Date.now() > Date.parse(first.asOf ?? '') && Date.now());
  await say('/login', identity('bob'));
  const second = await willow.presenceWhen('bob', ({ status }) => status === 'online');
  expect(Date.parse(second.asOf ?? '')).toBeGreaterThanOrEqual(saidAtMs);
  expect(Date.parse((await willow.presence('ann')).asOf ?? '')).toBeGreaterThanOrEqual(saidAtMs);
});

test('while the broker is away every answer is stale and as of then; when it is back with our session, none is', async () => {
  const { willow, mosquitto } = stage;
  await mosquitto.stop('SIGTERM');
  const { asOf } = await willow.presenceWhen('ann', ({ stale }) => stale);
  expect(await isStale('bob')).toBe(true);
  expect(await isStale('never-seen')).toBe(true);
  expect((await willow.get('/readyz')).status).toBe(503);
  expect((await willow.presence('ann')).asOf).toBe(asOf);
  await mosquitto.restart();
  const fresh = await willow.presenceWhen('ann', ({ stale }) => !stale);
  expect(Date.parse(fresh.asOf ?? '')).toBeGreaterThan(Date.parse(asOf ?? ''));
  expect(await isStale('never-seen')).toBe(false);
  await until('readiness', async () => (await willow.get('/readyz')).status === 200);
});

test('a broker that comes back without our session leaves everybody stale who has not been heard since', async () => {
  await using forgetful = await openStage();
  const { willow, mosquitto } = forgetful;
  await forgetful.voice.say('/login', identity('ann'));
  await forgetful.voice.say('/login', identity('bob'));
  await willow.presenceWhen('bob', ({ status }) => status === 'online');
  // Killed, Mosquitto has written nothing down: its wills are lost, and our session is.
  await mosquitto.stop('SIGKILL');
  await willow.presenceWhen('ann', ({ stale }) => stale);
  await mosquitto.restart();
  await using voice = await openVoice(mosquitto.url);
  await until('the link', async () => (await willow.metric('willow_link_up')) === 1);
  expect(await willow.metric('willow_link_gaps_total')).toBe(1);
  // A sign of life: the same session, the same epoch.
  await voice.say('/login', identity('ann'));
  await willow.presenceWhen('ann', ({ stale }) => !stale);
  expect(await willow.presence('bob')).toMatchObject({ status: 'online', stale: true });
  expect(await willow.presence('never-seen')).toMatchObject({ status: 'offline', stale: true });
  await voice.say('/logout', identity('bob'));
  await willow.presenceWhen('bob', ({ sessions, stale }) => sessions[0]?.status === 'lost' && !stale);
});
