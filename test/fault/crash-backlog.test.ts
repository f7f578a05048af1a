import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { watchDeliveries } from '../support/deliveries.ts';
import { mqtt } from '../support/framing.ts';
import { readLog } from '../support/history.ts';
import { expireLease, trapBeforePuback } from '../support/kill.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { publishAll, untilSettled } from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { startWillow } from '../support/willow.ts';

/** More than Willow keeps in memory at a time. */
const backlog = Array.from({ length: 10_000 }, (_, index) => ({ topic: '/logout', payload: `user-${index}` }));

test('after a crash Willow settles the backlog of a broker that knows no limit and sends all of it before it answers the subscription', async () => {
  await using mosquitto = await startMosquitto({ inflightMax: 0 });
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  // In MQTT 3.1.1 a subscriber cannot ask for one.
  link.judge(({ packet }) => (packet.cmd === 'connect' && packet.protocolVersion === 5 ? 'cut' : 'pass'));
  const environment = { MQTT_URL: `mqtt://127.0.0.1:${link.port}`, DATABASE_URL: database.url, LOG_LEVEL: 'info' };
  await using first = await startWillow(environment);
  expect(await first.logged('link.up')).toMatchObject({ protocolVersion: 4 });
  await first.child.end('SIGKILL');
  await expireLease(database);
  await publishAll(mosquitto.url, backlog);
  await using second = await startWillow(environment);
  await untilSettled(mosquitto.url, second);
  expect((await readLog(database.pool)).size).toBe(backlog.length);
});

test('I1, I9: ten thousand wills wait, and Willow is killed while it has acknowledged a few of them: all are announced, each once', async () => {
  await using mosquitto = await startMosquitto();
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  const environment = { MQTT_URL: `mqtt://127.0.0.1:${link.port}`, DATABASE_URL: database.url, LOG_LEVEL: 'info' };
  await using first = await startWillow(environment);
  await first.logged('link.up');
  await first.child.end('SIGKILL');
  await expireLease(database);
  await publishAll(mosquitto.url, backlog);
  // Mosquitto 2.0 then sends a whole window more for each PUBACK.
  const trap = await trapBeforePuback({ database, link, deliveries: watchDeliveries(link) }, 50);
  await using second = await startWillow(environment);
  await trap.met();
  await second.child.end('SIGKILL');
  await trap.prove();
  await expireLease(database);
  await using third = await startWillow(environment);
  await untilSettled(mosquitto.url, third);
  const log = await readLog(database.pool);
  expect([...log.values()].filter(({ length }) => length === 2).length).toBe(backlog.length);
});
