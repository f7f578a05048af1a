import pg from 'pg';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { mqtt } from '../support/framing.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { publishAll } from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow } from '../support/willow.ts';

const users = 300;

function birthAndWill(user: number) {
  const payload = JSON.stringify({ userId: `user-${user}`, sessionId: 'phone', epoch: 1 });
  return [
    { topic: '/login', payload },
    { topic: '/logout', payload },
  ];
}

async function lockHead(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('begin');
  await client.query('select from log_head for update');
  return {
    release: async () => {
      await client.query('rollback');
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** What went over the link: for each connection the packet ids that the broker delivered, and those that Willow acknowledged. */
type Seen = Map<number, { readonly delivered: number[]; readonly acknowledged: number[] }>;

test('I9: nothing is acknowledged before its commit, and then in arrival order, on the connection that it came by', async () => {
  await using mosquitto = await startMosquitto({ inflightMax: 50 });
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  const seen: Seen = new Map();
  link.judge(({ from, packet, connection }) => {
    const of = seen.get(connection) ?? { delivered: [], acknowledged: [] };
    seen.set(connection, of);
    if (from === 'server' && packet.cmd === 'publish' && packet.messageId !== undefined)
      of.delivered.push(packet.messageId);
    if (from === 'client' && packet.cmd === 'puback' && packet.messageId !== undefined)
      of.acknowledged.push(packet.messageId);
    return 'pass';
  });
  await using willow = await startWillow({
    MQTT_URL: `mqtt://127.0.0.1:${link.port}`,
    DATABASE_URL: database.url,
    GRACE_MS: '0',
  });
  await willow.logged('link.up');

  // While the head of the log is locked no batch can commit.
  await using lock = await lockHead(database.url);
  await publishAll(mosquitto.url, Array.from({ length: users }, (_, user) => birthAndWill(user)).flat());
  await until('more deliveries than a batch', () => (seen.get(1)?.delivered.length ?? 0) >= 50);
  await until('a commit that waits for the lock', async () => {
    const { rowCount } = await database.pool.query(
      `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
    );
    return rowCount === 1;
  });
  expect(seen.get(1)?.acknowledged).toEqual([]);

  // The connection goes before its messages are committed: they are acknowledged on the next one, when they come again.
  expect(link.cut()).toBe(1);
  await lock.release();
  await until('the next connection', () => (seen.get(2)?.delivered.length ?? 0) > 0);
  expect(seen.get(1)?.acknowledged).toEqual([]);

  await until('everything settled', async () => {
    const { rows } = await database.pool.query<{ position: string }>('select position from log_head');
    return Number(rows[0]?.position) === 4 * users;
  });
  await until('everything acknowledged', () => {
    const last = seen.get(2);
    return (
      last !== undefined && last.delivered.length >= 2 * users && last.acknowledged.length === last.delivered.length
    );
  });
  for (const { delivered, acknowledged } of seen.values()) {
    expect(acknowledged).toEqual(delivered.slice(0, acknowledged.length));
  }
});
