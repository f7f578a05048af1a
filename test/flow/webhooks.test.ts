import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { openReceiver, type Receiver, withoutRepeats } from '../support/receiver.ts';
import { openStage, type Stage } from '../support/stage.ts';
import { openVoice, withWill } from '../support/voice.ts';
import { allowLoopback, call, subscribe } from '../support/webhooks.ts';

let stage: Stage;
let receiver: Receiver;
const made: string[] = [];

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '0', ...allowLoopback });
});

afterAll(async () => {
  await stage[Symbol.asyncDispose]();
});

beforeEach(async () => {
  receiver = await openReceiver();
});

afterEach(async () => {
  for (const id of made.splice(0)) await call(stage.willow, 'DELETE', `/webhooks/${id}`);
  await receiver[Symbol.asyncDispose]();
});

async function hook(more: Parameters<typeof subscribe>[2] = {}): Promise<string> {
  const id = await subscribe(stage.willow, receiver, more);
  made.push(id);
  return id;
}

const login = (userId: string, epoch: number) => stage.voice.say('/login', { userId, sessionId: 'phone', epoch });
const will = (userId: string, epoch: number) => stage.voice.say('/logout', { userId, sessionId: 'phone', epoch });

test('a client that vanishes is a signed webhook, with all that is needed to act on it', async () => {
  const id = await hook();
  const device = await openVoice(
    stage.mosquitto.url,
    withWill('/logout', { userId: 'ann', sessionId: 'phone', epoch: 1 }),
  );
  await device.say('/login', { userId: 'ann', sessionId: 'phone', epoch: 1, device: { os: 'ios' } });
  await receiver.takenWhen(2);
  device.vanish();
  const events = await receiver.takenWhen(4);
  await device[Symbol.asyncDispose]();
  expect(events.map(({ type, sequence }) => `${sequence} ${type}`)).toEqual([
    '1 session.started',
    '2 user.online',
    '3 session.ended',
    '4 user.offline',
  ]);
  expect(events[2]).toMatchObject({
    userId: 'ann',
    sessionId: 'phone',
    epoch: 1,
    reason: 'will',
    device: { os: 'ios' },
  });
  expect(withoutRepeats(receiver.deliveries())).toEqual(await stage.willow.events('ann'));
  const deliveries = receiver.deliveries();
  expect(deliveries.map((delivery) => delivery.id)).toEqual(events.map(({ position }) => `${id}_${position}`));
});

test('only the types that were asked for are sent, and only what comes after the endpoint', async () => {
  await login('before', 1);
  await stage.willow.presenceWhen('before', ({ status }) => status === 'online');
  await hook({ events: ['user.offline'] });
  await login('bob', 1);
  await will('before', 1);
  await will('bob', 1);
  const events = await receiver.takenWhen(2);
  expect(events.map(({ type }) => type)).toEqual(['user.offline', 'user.offline']);
  expect(new Set(events.map(({ userId }) => userId))).toEqual(new Set(['before', 'bob']));
});

test('an event that is refused three times is parked, and the lane goes on; retried, it comes under the same id', async () => {
  const id = await hook({ events: ['session.ended'], lanes: 1 });
  let isSpoiled = true;
  receiver.answer(({ events }) => (isSpoiled && events[0]?.userId === 'spoiled' ? 422 : 204));
  await login('spoiled', 1);
  await will('spoiled', 1);
  await login('next', 1);
  await will('next', 1);
  // 5 s and 30 s lie between the three tries: the clock is helped.
  await receiver.deliveredWhen(1);
  expect(receiver.taken()).toEqual([]);
  await call(stage.willow, 'PATCH', `/webhooks/${id}`, { description: 'changed, so that nobody waits' });
  isSpoiled = false;
  const events = await receiver.takenWhen(2);
  expect(events.map(({ userId }) => userId)).toEqual(['spoiled', 'next']);
});
