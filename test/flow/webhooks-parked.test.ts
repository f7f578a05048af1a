// What a receiver refuses is kept for a person, who can have it sent again; nobody else waits for it.

import { expect, test } from 'vitest';
import { attemptsWhen, call, handOver, parkedWhen, playWebhooks, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();

/** Users whose events are refused come online, and are parked: the second and third try are made at once. */
async function park(id: string, ...userIds: readonly string[]): Promise<void> {
  let attempts = (await attemptsWhen(play.willow, id, 0)).length;
  for (const userId of userIds) {
    await play.login(userId);
    for (let tries = 1; tries <= 3; tries += 1) {
      attempts += 1;
      await attemptsWhen(play.willow, id, attempts);
      if (tries < 3) await handOver(play.stage, id);
    }
  }
}

test.each([400, 413, 422])(
  'an event answered with %i is tried three times and parked, the lane goes on; retried, it comes under its id',
  async (status) => {
    let isSpoiled = true;
    const spoiled = `spoiled-${status}`;
    const next = `next-${status}`;
    play.receiver.answer(({ events }) => (isSpoiled && events[0]?.userId === spoiled ? status : 204));
    const id = await play.hook({ events: ['user.online'], lanes: 1 });
    await park(id, spoiled);
    await play.login(next);
    expect((await play.receiver.takenWhen(1)).map(({ userId }) => userId)).toEqual([next]);
    const [parked] = await parkedWhen(play.willow, id, 1);
    const [, event] = await play.willow.events(spoiled);
    expect(parked).toMatchObject({ event, reason: 'refused', attempts: 3, status, retryAt: null });
    expect(parked?.detail).toBe(`answered ${status}`);
    // A refusal is the application's answer to one event: the endpoint works.
    expect(await webhookOf(play.willow, id)).toMatchObject({ status: 'enabled', failingSince: null });

    isSpoiled = false;
    const path = `/webhooks/${id}/parked/${parked?.id}/retry`;
    expect(await call(play.willow, 'POST', path)).toEqual({ status: 202, body: { retried: 1 } });
    await play.receiver.takenWhen(2);
    await parkedWhen(play.willow, id, 0);
    const ofSpoiled = play.receiver.deliveries().filter(({ events }) => events[0]?.userId === spoiled);
    expect(ofSpoiled).toHaveLength(4);
    expect(new Set(ofSpoiled.map((delivery) => `${delivery.id} ${delivery.body}`)).size).toBe(1);
    expect(ofSpoiled[0]?.id).toBe(`${id}_${event?.position}`);
    expect(await call(play.willow, 'POST', path)).toMatchObject({ status: 404 });
  },
);

test('all that is parked is retried at once, oldest first; what is refused again stays, with the new count', async () => {
  const refused = new Set(['first', 'second', 'third']);
  play.receiver.answer(({ events }) => (refused.has(events[0]?.userId ?? '') ? 422 : 204));
  const id = await play.hook({ events: ['user.online'], lanes: 1 });
  await park(id, ...refused);
  const parked = await parkedWhen(play.willow, id, 3);
  expect(parked.map(({ event }) => event.userId)).toEqual(['third', 'second', 'first']);
  refused.delete('first');
  refused.delete('third');
  const retry = await call(play.willow, 'POST', `/webhooks/${id}/parked/retry`);
  expect(retry).toEqual({ status: 202, body: { retried: 3 } });
  expect((await play.receiver.takenWhen(2)).map(({ userId }) => userId)).toEqual(['first', 'third']);
  const [left] = await parkedWhen(play.willow, id, 1);
  expect(left).toMatchObject({ id: parked[1]?.id, event: { userId: 'second' }, attempts: 4, retryAt: null });
  const [newest] = await attemptsWhen(play.willow, id, 12);
  expect(newest).toMatchObject({ outcome: 'delivered', webhookId: `${id}_${parked[0]?.event.position}` });
});

test('what is parked stays through a pause: it is sent again when the endpoint is enabled, and not before', async () => {
  let isRefused = true;
  play.receiver.answer(() => (isRefused ? 422 : 204));
  const id = await play.hook({ events: ['user.online'], lanes: 1 });
  await park(id, 'waits');
  await parkedWhen(play.willow, id, 1);
  await call(play.willow, 'PATCH', `/webhooks/${id}`, { enabled: false });
  isRefused = false;
  await call(play.willow, 'POST', `/webhooks/${id}/parked/retry`);
  expect((await parkedWhen(play.willow, id, 1))[0]?.retryAt).not.toBeNull();
  expect(play.receiver.taken()).toEqual([]);
  await call(play.willow, 'POST', `/webhooks/${id}/enable`);
  expect((await play.receiver.takenWhen(1)).map(({ userId }) => userId)).toEqual(['waits']);
  await parkedWhen(play.willow, id, 0);
});
