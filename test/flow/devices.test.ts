import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMortal } from '../support/mortal.ts';
import { announcedWhen, openStage, type Stage } from '../support/stage.ts';
import { openVoice, type Voice, withWill } from '../support/voice.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '0' });
});

afterAll(() => stage[Symbol.asyncDispose]());

type Device = 'phone' | 'tablet';
type Step = `${'+' | '-'}${Device}`;

/** Every order in which two devices can come and go. */
const orders: readonly (readonly Step[])[] = [
  ['+phone', '+tablet', '-phone', '-tablet'],
  ['+phone', '+tablet', '-tablet', '-phone'],
  ['+phone', '-phone', '+tablet', '-tablet'],
  ['+tablet', '+phone', '-phone', '-tablet'],
  ['+tablet', '+phone', '-tablet', '-phone'],
  ['+tablet', '-tablet', '+phone', '-phone'],
];

/** What must be announced, counted on fingers: the user is online while any device is there. */
function expectedOf(order: readonly Step[]): string[] {
  let live = 0;
  return order.flatMap((step) => {
    const session = step.slice(1);
    if (step.startsWith('+')) {
      live += 1;
      return [`session.started ${session} 1`, ...(live === 1 ? [`user.online ${session} 1`] : [])];
    }
    live -= 1;
    return [`session.ended ${session} 1 will`, ...(live === 0 ? [`user.offline ${session} 1 will`] : [])];
  });
}

describe('the user goes offline exactly once, with the last device', () => {
  test.concurrent.each(orders.map((order, index) => [order.join(' '), order, index] as const))(
    '%s',
    async (...args) => {
      const [, order, index] = args;
      const { willow, mosquitto } = stage;
      const userId = `order-${index}`;
      const devices = new Map<string, Voice>();
      let eventsSoFar = 0;
      for (const [number, step] of order.entries()) {
        const sessionId = step.slice(1);
        const identity = { userId, sessionId, epoch: 1 };
        if (step.startsWith('+')) {
          const device = await openVoice(mosquitto.url, withWill('/logout', identity));
          devices.set(sessionId, device);
          await device.say('/login', identity);
        } else devices.get(sessionId)?.vanish();
        eventsSoFar = expectedOf(order.slice(0, number + 1)).length;
        await announcedWhen(willow, userId, eventsSoFar);
      }
      expect(await announcedWhen(willow, userId, eventsSoFar)).toEqual(expectedOf(order));
      expect((await willow.presence(userId)).status).toBe('offline');
    },
  );
});

test('two devices killed in the same moment are two ends and one user.offline', async () => {
  const { willow, mosquitto } = stage;
  const start = (sessionId: Device, epoch: number) => {
    const payload = JSON.stringify({ userId: 'both', sessionId, epoch });
    const will = { topic: '/logout/both', payload };
    const birth = { topic: '/login/both', payload };
    return startMortal('Eclipse Paho C', { port: mosquitto.port, version: 4, clientId: sessionId, will, birth });
  };
  await using phone = await start('phone', 11);
  await using tablet = await start('tablet', 12);
  await announcedWhen(willow, 'both', 3);
  await Promise.all([phone.die(), tablet.die()]);
  const events = await announcedWhen(willow, 'both', 6);
  expect(events.slice(0, 3)).toEqual(['session.started phone 11', 'user.online phone 11', 'session.started tablet 12']);
  const [first, second, last] = events.slice(3);
  expect(new Set([first, second])).toEqual(new Set(['session.ended phone 11 will', 'session.ended tablet 12 will']));
  // The last to end is the one that takes the user offline.
  expect(last).toBe(second?.replace('session.ended', 'user.offline'));
  expect(events).toHaveLength(6);
});

test('a bare will ends every live session of the user, and the user is offline once', async () => {
  const { willow, voice } = stage;
  await voice.say('/login/many/phone');
  await voice.say('/login/many/tablet');
  await voice.say('/logout', '{many}');
  const events = await announcedWhen(willow, 'many', 6);
  expect(events.slice(3).map((event) => event.split(' ')[0])).toEqual([
    'session.ended',
    'session.ended',
    'user.offline',
  ]);
});
