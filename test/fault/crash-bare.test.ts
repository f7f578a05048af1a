import { expect, test } from 'vitest';
import { inventBareHistory } from '../support/bare-storm.ts';
import { crashThrough } from '../support/crash.ts';
import { createDatabase } from '../support/database.ts';
import { watchDeliveries } from '../support/deliveries.ts';
import { mqtt } from '../support/framing.ts';
import { absentees, deviationsFrom, readLog } from '../support/history.ts';
import { trapBeforeCommit, trapBeforePuback } from '../support/kill.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { chanceOf, stormRounds } from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { startWillow } from '../support/willow.ts';

test('I4: kill -9 in a storm of bare wills: each that was published is announced once, and only receipts tell its redelivery', async () => {
  const chance = chanceOf('crash, bare');
  const rounds = stormRounds(10);
  await using mosquitto = await startMosquitto();
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  const ground = { database, link, deliveries: watchDeliveries(link) };
  const traps = [
    () => trapBeforePuback(ground, 0),
    () => trapBeforeCommit(ground, 'committed late'),
    () => trapBeforePuback(ground, chance.whole(20)),
    () => trapBeforeCommit(ground, 'rolled back'),
    () => trapBeforeCommit(ground, 'refused'),
  ];
  const environment = { MQTT_URL: `mqtt://127.0.0.1:${link.port}`, DATABASE_URL: database.url };
  // Without these windows nothing but its receipt keeps a will that comes again from being announced again.
  const windows = { GRACE_MS: '0', REPEAT_WINDOW_MS: '0', TAKEOVER_WINDOW_MS: '0' };
  const start = () => startWillow({ ...environment, ...windows });
  const { messages, expected } = inventBareHistory(chance, 20 + 20 * rounds);
  await using willow = await crashThrough(messages, {
    traps,
    rounds,
    chance,
    database,
    brokerUrl: mosquitto.url,
    start,
  });
  const log = await readLog(database.pool);
  expect(deviationsFrom(log, expected)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
});
