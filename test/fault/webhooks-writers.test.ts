// Writers that commit in another order than they began in, while lanes read: a lane that has passed a position never finds a smaller one later.

import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { postgres } from '../support/framing.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import {
  caughtUp,
  expectTrueCopy,
  openVisits,
  openWatchedReceiver,
  sending,
  startLoad,
  withoutRepeatedIds,
} from '../support/webhook-storm.ts';
import { subscribe } from '../support/webhooks.ts';
import { startWillow } from '../support/willow.ts';

const rounds = 4;
const readsWhileHeld = 2;

test('one writer has drawn a position and does not commit, others wait behind it, and lanes read all the while: whether it commits or not, no position is skipped', async () => {
  await using database = await createDatabase();
  await using way = await startTcpProxy(Number(new URL(database.url).port), postgres);
  await using single = await openWatchedReceiver();
  await using batched = await openWatchedReceiver();
  await using willow = await startWillow({ DATABASE_URL: databaseThrough(way.port, database.url), ...sending });
  await subscribe(willow, single);
  await subscribe(willow, batched, { maxBatch: 10 });
  let reads = 0;
  way.watch(({ from, packet: { type, text } }) => {
    if (from === 'client' && type === 'B' && text === 'read-log') reads += 1;
  });
  await using load = startLoad(database.url);
  await using visits = openVisits(database.url);
  let committed = 0;
  for (let round = 0; round < rounds; round += 1) {
    const first = await drawPosition(database);
    const second = visits.visit([`second-${round}`]);
    await until('writers that wait', async () => (await waiting(database)) >= 2);
    const readsBefore = reads;
    await until('lanes that read', () => reads >= readsBefore + readsWhileHeld);
    const isCommitted = round % 2 === 0;
    await first.end(isCommitted ? 'commit' : 'rollback');
    committed += isCommitted ? 1 : 0;
    await second;
  }
  await load.end();
  for (const receiver of [single, batched]) {
    const log = await caughtUp(receiver, database.pool);
    expect(log.map(({ position }) => position)).toEqual(log.map((_, index) => index + 1));
    expect(log.filter(({ userId }) => userId.startsWith('raw-'))).toHaveLength(committed);
    expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), log);
    expect(receiver.overtakings).toEqual([]);
  }
});

test('the log grows while what a lane has read is on its way to it: the rest is read next, and no position is skipped', async () => {
  await using database = await createDatabase();
  await using way = await startTcpProxy(Number(new URL(database.url).port), postgres);
  await using receiver = await openWatchedReceiver();
  await using willow = await startWillow({ DATABASE_URL: databaseThrough(way.port, database.url), ...sending });
  await subscribe(willow, receiver);
  await using visits = openVisits(database.url);
  for (let round = 0; round < rounds; round += 1) {
    let reader: number | null = null;
    const heldBefore = way.faults.hold;
    way.judge(({ from, packet: { type, text }, connection }) => {
      if (from === 'client' && type === 'B' && text === 'read-log') reader = connection;
      return from === 'server' && connection === reader ? 'hold' : 'pass';
    });
    await visits.visit(['seen']);
    await until('an answer that is held', () => way.faults.hold > heldBefore);
    await visits.visit(['seen later', 'seen', 'seen last']);
    way.judge(null);
    way.release();
    await caughtUp(receiver, database.pool);
  }
  expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), await caughtUp(receiver, database.pool));
  expect(receiver.overtakings).toEqual([]);
});

/** Somebody else who appends. */
async function drawPosition({ pool }: TestDatabase) {
  const client = await pool.connect();
  await client.query('begin');
  await client.query(
    `with head as (update log_head set position = position + 1 returning position)
     insert into events (position, user_id, sequence, type, session_id, epoch, device, at)
     select position, $1, 1, 'session.started', 'raw', 1, '{}', now() from head`,
    [`raw-${randomUUID()}`],
  );
  return {
    end: async (how: 'commit' | 'rollback') => {
      await client.query(how);
      client.release();
    },
  };
}

async function waiting({ pool }: TestDatabase): Promise<number> {
  const { rowCount } = await pool.query(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%log_head%'`,
  );
  return rowCount ?? 0;
}
