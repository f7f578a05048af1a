// Those who are slow on purpose hold a connection for a while and nothing else: whoever asks properly is answered meanwhile.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { askAgainAndAgain, askOnce } from '../support/healthy-client.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { openFilesOf } from '../support/process.ts';
import { openSlowCrowd, slowWaysThatNotice } from '../support/slow-clients.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { startWillow } from '../support/willow.ts';

const path = '/users/ada/presence';

test('among a thousand slow clients a healthy one is answered at once, and the slow ones are cut off', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using willow = await startListening(mosquitto, database, {});
  const port = Number(new URL(willow.http).port);
  const filesBefore = openFilesOf(willow.child.pid);
  using crowd = await openSlowCrowd(port, 1_001);
  expect(crowd.held()).toBe(1_001);
  const waited = await askAgainAndAgain(willow.http, path, 100);
  expect(waited.map(({ status }) => status)).toEqual(waited.map(() => 200));
  const slowest = Math.max(...waited.map(({ ms }) => ms));
  expect(slowest).toBeLessThan(2_000);
  // 15 s for a head, 30 s for a whole request, and Willow looks every 5 s.
  for (const way of slowWaysThatNotice) {
    await until(`the end of every client that ${way}`, () => crowd.heldOf(way) === 0);
    expect((await askOnce(willow.http, path)).status).toBe(200);
  }
  // Those who read nothing do not see that they are gone, which they are 72 s after their last request.
  await until('the end of every connection', () => openFilesOf(willow.child.pid) <= filesBefore + 10, 120_000);
  expect(willow.log().filter(({ event }) => event === 'request.failed')).toEqual([]);
});

test('with few files to open, connections end at their bound, and the broker and the database keep theirs', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  const environment = { MQTT_URL: mosquitto.url, DATABASE_URL: database.url };
  await using willow = await startWillow(environment, { openFilesMax: 512 });
  await willow.logged('link.up');
  const port = Number(new URL(willow.http).port);
  using crowd = await openSlowCrowd(port, 1_500);
  await until('the crowd to be held at its bound', () => crowd.held() <= 384);
  const waited = await askAgainAndAgain(willow.http, path, 50);
  expect(waited.map(({ status }) => status)).toEqual(waited.map(() => 200));
  const dropped = await willow.metric('willow_http_refused_total', { why: 'gave-way' });
  expect(dropped).toBeGreaterThan(1_000);
  // A connection of each kind that was not there before: to the database for readiness, from a new client of the broker.
  const ready = await willow.get<{ status: string }>('/readyz');
  expect(ready).toMatchObject({ status: 200, body: { status: 'ready' } });
  await mosquitto.stop('SIGTERM');
  await mosquitto.restart();
  await until('the link to come back', async () => (await willow.get('/readyz')).status === 200);
});
