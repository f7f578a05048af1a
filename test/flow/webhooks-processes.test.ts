// Several processes: who sends and who does not, and what a stop leaves to the next.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { openReceiver } from '../support/receiver.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice } from '../support/voice.ts';
import { allowLoopback, attemptsWhen, subscribe } from '../support/webhooks.ts';
import { startWillow, type Willow } from '../support/willow.ts';

const environment = { GRACE_MS: '0', ...allowLoopback };
const stopMsMax = 5_000;

async function stop({ child }: Willow): Promise<void> {
  const startedAtMs = performance.now();
  expect(await child.end('SIGTERM')).toBe(0);
  expect(performance.now() - startedAtMs).toBeLessThan(stopMsMax);
}

test('a process without the role sends nothing; one with that role alone sends what the others commit', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using receiver = await openReceiver();
  await using voice = await openVoice(mosquitto.url);
  await using first = await startListening(mosquitto, database, { ...environment, ROLES: 'ingest,api' });
  const id = await subscribe(first, receiver);
  await voice.say('/login', { userId: 'ann', epoch: 1 });
  await first.presenceWhen('ann', ({ status }) => status === 'online');
  const { rows } = await database.pool.query('select from lanes where holder is not null');
  expect(rows).toEqual([]);
  expect(receiver.deliveries()).toEqual([]);

  await using second = await startWillow({ ...environment, ROLES: 'webhooks', DATABASE_URL: database.url });
  await receiver.takenWhen(2);
  await voice.say('/logout', { userId: 'ann', epoch: 1 });
  const events = await receiver.takenWhen(4);
  expect(events.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  expect((await second.get('/webhooks')).status).toBe(404);
  await until('ready', async () => (await second.get('/readyz')).status === 200);
  await attemptsWhen(first, id, 4);
  expect(await first.metric('willow_webhook_attempts_total')).toBe(0);
  expect(await second.metric('willow_webhook_attempts_total')).toBe(4);
});

test('SIGTERM under load ends in time; the next process goes on at once, and sends nothing again', async () => {
  await using mosquitto = await startMosquitto({ inflightMax: 1_000 });
  await using database = await createDatabase();
  await using receiver = await openReceiver();
  await using voice = await openVoice(mosquitto.url);
  const users = Array.from({ length: 1_000 }, (_, index) => `user-${index}`);
  let saying: Promise<unknown> | null = null;
  for (const enough of [300, 800]) {
    await using willow = await startListening(mosquitto, database, environment);
    if (saying === null) await subscribe(willow, receiver);
    saying ??= Promise.all(users.map((userId) => voice.say('/login', { userId, epoch: 1 })));
    await receiver.takenWhen(enough);
    await stop(willow);
    // There was work left; and no lease has to run out before somebody does it.
    expect(receiver.taken().length).toBeLessThan(2 * users.length);
    const { rows } = await database.pool.query('select from lanes where holder is not null');
    expect(rows).toEqual([]);
  }
  await saying;
  await using _last = await startListening(mosquitto, database, environment);
  await receiver.takenWhen(2 * users.length);
  const ids = receiver.deliveries().map((delivery) => delivery.id);
  expect(ids.length - new Set(ids).size).toBe(0);
  const byUser = Map.groupBy(receiver.taken(), ({ userId }) => userId);
  expect(byUser.size).toBe(users.length);
  for (const events of byUser.values()) expect(events.map(({ sequence }) => sequence)).toEqual([1, 2]);
});

test('SIGTERM while a receiver has not answered ends in time, and what it was sent is sent again', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using receiver = await openReceiver();
  let isSilent = true;
  receiver.answer(() => (isSilent ? undefined : 204));
  await using voice = await openVoice(mosquitto.url);
  await using first = await startListening(mosquitto, database, environment);
  await subscribe(first, receiver);
  await voice.say('/login', { userId: 'ann', epoch: 1 });
  await receiver.deliveredWhen(1);
  await stop(first);
  isSilent = false;
  await using _second = await startListening(mosquitto, database, environment);
  await receiver.takenWhen(2);
  const [before, after] = receiver.deliveries();
  expect(after).toMatchObject({ id: before?.id, body: before?.body });
});
