// Somebody else who connects with Willow's client id takes its session at the broker away, for as long as the broker lets them.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { openBareClient } from './broker-crowd.ts';
import { drain, expectLog, expectMetricsToAddUp, nthLogged, publishAll, readSoundLog } from './broker-witness.ts';
import { startStorm } from './standby-storm.ts';

const clientId = 'willow';
const takeovers = 5;

let mosquitto: Mosquitto;
let database: TestDatabase;
let willow: Willow;

beforeEach(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
  willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, MQTT_CLIENT_ID: clientId });
  await willow.logged('link.up');
});

afterEach(async () => {
  for (const part of [willow, database, mosquitto]) await part[Symbol.asyncDispose]();
});

test('a stranger under the same client id is a nuisance: Willow comes back every time, and nothing is lost or doubled', async () => {
  await using storm = await startStorm(mosquitto.url);
  for (let times = 1; times <= takeovers; times += 1) {
    // It is given messages of ours, and acknowledges none.
    using stranger = await openBareClient(mosquitto.port, { clientId, clean: false });
    await nthLogged(willow, 'link.down', times);
    expect(await nthLogged(willow, 'link.up', 1 + times)).toMatchObject({ hasSession: true });
    await stranger.closed;
  }
  const messages = await storm.end();
  await drain(mosquitto.url, willow);
  expectLog(await readSoundLog(database.pool), messages);
  await expectMetricsToAddUp(willow);
});

test('a stranger who makes the broker forget our session is not hidden: everybody is stale until heard again', async () => {
  await publishAll(
    mosquitto.url,
    ['alice', 'bob'].map((payload) => ({ topic: '/login', payload })),
  );
  await drain(mosquitto.url, willow);
  expect(await willow.presence('alice')).toMatchObject({ status: 'online', stale: false });
  const stranger = await openBareClient(mosquitto.port, { clientId, clean: true });
  expect(await nthLogged(willow, 'link.up', 2)).toMatchObject({ hasSession: false });
  await stranger.closed;
  await publishAll(mosquitto.url, [{ topic: '/login', payload: 'alice' }]);
  await drain(mosquitto.url, willow);
  expect(await willow.presence('alice')).toMatchObject({ status: 'online', stale: false });
  expect(await willow.presence('bob')).toMatchObject({ status: 'online', stale: true });
});
