import { readFile } from 'node:fs/promises';
import type { IPublishPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { watchDeliveries } from '../support/deliveries.ts';
import { mqtt, unframed } from '../support/framing.ts';
import { findFreePort } from '../support/free-port.ts';
import { absentees, deviations, readLog } from '../support/history.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import {
  chanceOf,
  inventHistory,
  publishAll,
  type Said,
  split,
  stormRounds,
  untilSettled,
  wireOf,
} from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

test('I9: PostgreSQL is killed under load and comes back: nothing is acknowledged that is not committed, the link is dropped when the lease is over, and in the end nothing is lost or doubled', async () => {
  const chance = chanceOf('database away');
  const rounds = stormRounds(4);
  await using mosquitto = await startMosquitto();
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using postgres = await startOwnPostgres();
  await using willow = await startWillow({
    MQTT_URL: `mqtt://127.0.0.1:${link.port}`,
    DATABASE_URL: postgres.url,
    GRACE_MS: '0',
  });
  await willow.logged('link.up');
  const { acknowledged } = watchDeliveries(link);
  const said = inventHistory(chance, { users: 100 * rounds, sessionsMax: 2 });
  for (const [round, part] of split(said, rounds).entries()) {
    const downs = countLogged(willow, 'link.down');
    const losses = countLogged(willow, 'lease.lost');
    const acknowledgedBefore = acknowledged.length;
    const publishing = publishAll(
      mosquitto.url,
      part.map((message) => wireOf(chance, message)),
    );
    await until('messages on their way', () => acknowledged.length > acknowledgedBefore);
    if (round % 2 === 1) {
      await postgres.killBackend();
      await publishing;
      await until('a database that is back', async () => (await willow.get('/users/alice/presence')).status === 200);
      continue;
    }
    await postgres.kill();
    await publishing;
    await expectUnavailable(willow);
    await until('the lease given up', () => countLogged(willow, 'lease.lost') > losses);
    await until('the link dropped', () => countLogged(willow, 'link.down') > downs);
    const acknowledgedThen = acknowledged.length;
    await expectUnavailable(willow);
    const { open } = await postgres.restart();
    expect(await countUncommitted(postgres, acknowledged)).toBe(0);
    expect(acknowledged.length).toBe(acknowledgedThen);
    open();
  }
  await untilSettled(mosquitto.url, willow);
  await until('readiness', async () => (await willow.get('/readyz')).status === 200);
  const log = await readLog(postgres.pool());
  expect(deviations(log, said, 0)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
});

test('memory stays bounded while the database is away and a broker sends without limit; all that it sent is settled afterwards', async () => {
  await using mosquitto = await startMosquitto({ inflightMax: 0 });
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  const port = Number(new URL(database.url).port);
  await using way = await startTcpProxy(port, unframed);
  // MQTT 3.1.1 has no limit that a subscriber could ask for.
  link.judge(({ packet }) => (packet.cmd === 'connect' && packet.protocolVersion === 5 ? 'cut' : 'pass'));
  await using willow = await startWillow({
    MQTT_URL: `mqtt://127.0.0.1:${link.port}`,
    DATABASE_URL: databaseThrough(way.port, database.url),
    LOG_LEVEL: 'info',
  });
  expect(await willow.logged('link.up')).toMatchObject({ protocolVersion: 4 });
  const beforeBytes = await peakBytes(willow);
  way.pointTo(await findFreePort());
  expect(way.cut()).toBeGreaterThan(0);
  const padding = 'x'.repeat(3_900);
  const messages = Array.from({ length: 25_000 }, (_, index) => ({
    topic: '/logout',
    payload: JSON.stringify({ userId: `user-${index}`, epoch: 1, padding }),
  }));
  await publishAll(mosquitto.url, messages);
  await willow.logged('link.down');
  // 100 MB were sent; 8 MiB may wait, and the rest is what it costs to read them.
  expect((await peakBytes(willow)) - beforeBytes).toBeLessThan(60 * 1024 * 1024);
  way.pointTo(port);
  await untilSettled(mosquitto.url, willow);
  const log = await readLog(database.pool);
  expect([...log.values()].filter(({ length }) => length === 2)).toHaveLength(messages.length);
});

/** Messages that left no trace: neither themselves nor anything newer of their session is in the database. */
async function countUncommitted(postgres: OwnPostgres, acknowledged: readonly IPublishPacket[]): Promise<number> {
  const said = acknowledged.map(({ payload }) => JSON.parse(String(payload)) as Said);
  const { rowCount } = await postgres.pool().query(
    `select from unnest($1::text[], $2::text[], $3::bigint[]) as a(user_id, session_id, epoch)
     where not exists (select from sessions s where s.user_id = a.user_id and s.session_id = a.session_id and s.epoch >= a.epoch)`,
    [said.map(({ userId }) => userId), said.map(({ sessionId }) => sessionId), said.map(({ epoch }) => epoch)],
  );
  return rowCount ?? 0;
}

async function expectUnavailable(willow: Willow): Promise<void> {
  for (const path of ['/readyz', '/users/alice/presence', '/users/alice/events', '/users/alice/sessions']) {
    const { status, headers } = await fetch(`${willow.http}${path}`);
    expect({ path, status }).toEqual({ path, status: 503 });
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
  }
  expect((await fetch(`${willow.http}/healthz`)).status).toBe(200);
}

function countLogged(willow: Willow, event: string): number {
  return willow.log().filter((line) => line.event === event).length;
}

/** The most memory that it ever had. */
async function peakBytes({ child }: Willow): Promise<number> {
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1];
  return Number(peak) * 1024;
}
