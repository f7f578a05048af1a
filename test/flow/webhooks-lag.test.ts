// How far an endpoint is, as those who manage it are shown: true within seconds, whoever's events there were.

import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { call, headOf, playWebhooks, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();

test('an endpoint that has had everything is at the end of the log, those lanes too that had nothing to send; and replays nothing from there', async () => {
  const id = await play.hook({ lanes: 8 });
  const picky = await play.hook({ lanes: 8, events: ['user.offline'] });
  // Of one user: seven of eight lanes have nothing to do.
  for (const connection of [1, 2, 3]) await play.login('only', { device: { connection } });
  await play.will('only');
  await play.receiver.takenWhen(5);
  const head = await headOf(play.stage);
  for (const endpoint of [id, picky]) {
    await until('no lag', async () => (await webhookOf(play.willow, endpoint)).lag.events === 0, 20_000);
    expect((await webhookOf(play.willow, endpoint)).lag).toEqual({ position: head, head, events: 0 });
    expect(await play.willow.metric('willow_webhook_lag_events', { endpoint })).toBe(0);
  }
  const { position } = (await webhookOf(play.willow, id)).lag;
  await call(play.willow, 'POST', `/webhooks/${id}/replay`, { after: position });
  await play.login('only');
  const taken = await play.receiver.takenWhen(7);
  expect(taken).toHaveLength(7);
});

test('while a delivery fails, its event and what follows it are the lag, and nothing that was delivered before', async () => {
  let status = 204;
  play.receiver.answer(({ events }) => (events.some(({ userId }) => userId === 'stuck') ? status : 204));
  const id = await play.hook({ lanes: 8 });
  for (const userId of ['free-1', 'free-2', 'free-3']) await play.login(userId);
  await play.receiver.takenWhen(6);
  const before = await headOf(play.stage);
  status = 500;
  await play.login('stuck');
  await play.receiver.deliveredWhen(7);
  const lag = { position: before, head: before + 2, events: 2 };
  await until('the lag', async () => (await webhookOf(play.willow, id)).lag.events === 2, 20_000);
  expect((await webhookOf(play.willow, id)).lag).toEqual(lag);
});
