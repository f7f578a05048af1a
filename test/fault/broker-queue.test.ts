// While Willow is away the broker keeps what it is owed: a long queue is a delay and nothing else.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startWillow } from '../support/willow.ts';
import {
  comingsAndGoings,
  drain,
  expectLog,
  expectMetricsToAddUp,
  publicationOf,
  publishAll,
  readSoundLog,
} from './broker-witness.ts';

const userIds = Array.from({ length: 20 }, (_, index) => `user-${index}`);
/** A login and a goodbye for every user and epoch: 20,000 messages, and not one that may be left out or change places. */
const messages = comingsAndGoings(userIds, 500);

test('what was queued while Willow was away is applied once, in the order in which it was published', async ({
  annotate,
}) => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  const environment = { MQTT_URL: mosquitto.url, DATABASE_URL: database.url };
  {
    await using willow = await startWillow(environment);
    await willow.logged('link.up');
    expect(await willow.child.end('SIGTERM')).toBe(0);
  }
  await publishAll(mosquitto.url, messages.map(publicationOf));
  const startedAtMs = performance.now();
  await using willow = await startWillow(environment);
  expect(await willow.logged('link.up')).toMatchObject({ hasSession: true });
  await drain(mosquitto.url, willow);
  await annotate(
    `${messages.length} messages settled ${Math.round(performance.now() - startedAtMs)} ms after the start`,
  );
  const log = await readSoundLog(database.pool);
  expectLog(log, messages);
  // Across users too: the log is in the order of the messages.
  const published = messages.map(({ kind, userId, epoch }) => `${kind} ${userId} ${epoch}`);
  const applied = log
    .filter(({ type }) => type.startsWith('session.'))
    .map(({ type, userId, epoch }) => `${type === 'session.started' ? 'login' : 'logout'} ${userId} ${epoch}`);
  expect(applied).toEqual(published);
  for (const outcome of ['repeat', 'stale']) {
    expect(await willow.metric('willow_signals_total', { outcome })).toBe(0);
  }
  await expectMetricsToAddUp(willow);
});
