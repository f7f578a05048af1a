// A broker that is there and says nothing: the connection stays open, and only silence tells.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { openBareClient } from './broker-crowd.ts';
import { drain, expectMetricsToAddUp, nthLogged, publishAll, readSoundLog } from './broker-witness.ts';

/** One and a half keep-alives of five seconds, and as much again for a slow machine. */
const noticeMsMax = 15_000;

let mosquitto: Mosquitto;
let database: TestDatabase;
let willow: Willow;

beforeAll(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
  const environment = { GRACE_MS: '300', REPEAT_WINDOW_MS: '0' };
  willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...environment });
  await willow.logged('link.up');
});

afterAll(async () => {
  await willow[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await mosquitto[Symbol.asyncDispose]();
});

test('a broker that falls silent is noticed within the keep-alive, and what was published meanwhile is applied once', async ({
  annotate,
}) => {
  const userIds = Array.from({ length: 50 }, (_, index) => `user-${index}`);
  await publishAll(mosquitto.url, [{ topic: '/login', payload: 'alice' }]);
  await drain(mosquitto.url, willow);
  expect(await willow.presence('alice')).toMatchObject({ status: 'online', stale: false });
  using client = await openBareClient(mosquitto.port, { clientId: 'device', clean: true });

  mosquitto.child.kill('SIGSTOP');
  const stoppedAtMs = performance.now();
  const lastHeardMsMax = Date.now() + 1_000;
  // Bare ids: nothing but the rules for redelivery keeps these from being doubled.
  const published = Promise.all(['alice', ...userIds].map((userId) => client.publish('/logout', userId)));
  await willow.logged('link.down');
  const noticeMs = performance.now() - stoppedAtMs;
  expect(noticeMs).toBeLessThan(noticeMsMax);
  const silent = await willow.presenceWhen('alice', ({ stale }) => stale);
  expect(silent.status).toBe('online');
  expect(Date.parse(silent.asOf ?? '')).toBeLessThan(lastHeardMsMax);
  expect((await willow.get('/readyz')).status).toBe(503);

  // An attempt to connect is met with the same silence.
  await nthLogged(willow, 'loop.failed', 1);
  expect(await willow.presence('alice')).toEqual(silent);

  mosquitto.child.kill('SIGCONT');
  const continuedAtMs = performance.now();
  await published;
  await nthLogged(willow, 'link.up', 2);
  const backMs = performance.now() - continuedAtMs;
  await drain(mosquitto.url, willow);
  await annotate(`noticed after ${Math.round(noticeMs)} ms, back ${Math.round(backMs)} ms after the broker`);
  const heard = await willow.presenceWhen('alice', ({ status }) => status === 'offline');
  expect(heard).toMatchObject({ sequence: 4, stale: false });
  const ends = (await readSoundLog(database.pool)).filter(({ type }) => type === 'session.ended');
  expect(ends.map(({ userId }) => userId).toSorted()).toEqual(['alice', ...userIds].toSorted());
  await expectMetricsToAddUp(willow);
});
