import { expect, test } from 'vitest';
import { crashThrough } from '../support/crash.ts';
import { createDatabase } from '../support/database.ts';
import { watchDeliveries } from '../support/deliveries.ts';
import { mqtt } from '../support/framing.ts';
import { absentees, deviations, readLog } from '../support/history.ts';
import { trapBeforeCommit, trapBeforePuback, trapDuringGrace } from '../support/kill.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { chanceOf, inventHistory, stormRounds, wireOf } from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow } from '../support/willow.ts';

type Storm = {
  readonly name: string;
  readonly graceMs: number;
  readonly sessionsMax: number;
  readonly rounds: number;
};

async function storm({ name, graceMs, sessionsMax, rounds }: Storm): Promise<void> {
  const chance = chanceOf(name);
  await using mosquitto = await startMosquitto();
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  const ground = { database, link, deliveries: watchDeliveries(link) };
  const traps = [
    () => trapBeforeCommit(ground, 'rolled back'),
    () => trapBeforePuback(ground, chance.whole(20)),
    () => trapBeforeCommit(ground, 'committed late'),
    () => trapBeforePuback(ground, 0),
    () => trapBeforeCommit(ground, 'refused'),
    ...(graceMs > 0 ? [() => trapDuringGrace(ground)] : []),
  ];
  const environment = { MQTT_URL: `mqtt://127.0.0.1:${link.port}`, DATABASE_URL: database.url };
  const start = () => startWillow({ ...environment, GRACE_MS: String(graceMs) });
  const said = inventHistory(chance, { users: 20 + 20 * rounds, sessionsMax });
  const messages = said.map((message) => wireOf(chance, message));
  await using willow = await crashThrough(messages, {
    traps,
    rounds,
    chance,
    database,
    brokerUrl: mosquitto.url,
    start,
  });
  await until('the end of every grace', async () => {
    const { rowCount } = await database.pool.query(`select from sessions where status = 'lost'`);
    return rowCount === 0;
  });
  const log = await readLog(database.pool);
  expect(deviations(log, said, graceMs)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
}

test('I1, I6, I8, I9: kill -9 before the commit, between commit and PUBACK, or during grace loses no end and announces none twice', async () => {
  await storm({ name: 'crash, with grace', graceMs: 2_000, sessionsMax: 1, rounds: stormRounds(12) });
});

test('I1, I8, I9: so it is for users with several sessions, where without grace one log only is right', async () => {
  await storm({ name: 'crash, without grace', graceMs: 0, sessionsMax: 3, rounds: stormRounds(8) });
});
