// PostgreSQL goes away under those who send, in the middle of anything: lanes find out where they are, and go on.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { type PostgresPacket, postgres } from '../support/framing.ts';
import { startOwnPostgres } from '../support/own-postgres.ts';
import { stormRounds } from '../support/storm.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
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
import { call, subscribe } from '../support/webhooks.ts';
import { startWillow } from '../support/willow.ts';

/** Of every receiver, before the next blow. */
const takenBetween = 200;
/** Blows at the most, until one has come between a delivery and its record. */
const blowsMax = 40;

test('PostgreSQL is killed under load, again and again, or one of its processes: no event is skipped, none is lost, and each user hears theirs in order', async () => {
  const rounds = stormRounds(4);
  await using own = await startOwnPostgres();
  await using willow = await startWillow({ DATABASE_URL: own.url, ...sending });
  await using single = await openWatchedReceiver();
  await using batched = await openWatchedReceiver();
  const receivers = [single, batched];
  await subscribe(willow, single);
  await subscribe(willow, batched, { maxBatch: 7 });
  await using load = startLoad(own.url);
  const goneOn = async () => {
    const before = receivers.map((receiver) => receiver.taken().length);
    await until('events taken', () =>
      receivers.every((receiver, index) => receiver.taken().length > (before[index] ?? 0) + takenBetween),
    );
  };
  const hasMetRecord = () => willow.log().some(({ event }) => event === 'record.failed');
  for (let round = 0; round < rounds || (round < blowsMax && !hasMetRecord()); round += 1) {
    await goneOn();
    if (round % 2 === 1) await own.killBackend();
    else {
      await own.kill();
      (await own.restart()).open();
    }
  }
  await goneOn();
  await load.end();
  for (const receiver of receivers) {
    const log = await caughtUp(receiver, own.pool());
    expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), log);
    expect(receiver.overtakings).toEqual([]);
  }
  expect(hasMetRecord()).toBe(true);
});

test('the connection is cut between a claim or a renewal of lanes and its answer, or before they are released: no lane is held by nobody', async () => {
  await using database = await createDatabase();
  await using way = await startTcpProxy(Number(new URL(database.url).port), postgres);
  await using willow = await startWillow({ DATABASE_URL: databaseThrough(way.port, database.url), ...sending });
  await using receiver = await openWatchedReceiver();
  await using visits = openVisits(database.url);
  const userIds = Array.from({ length: 30 }, (_, index) => `user-${index}`);
  const expectAllServed = async () => {
    await visits.visit(userIds);
    await caughtUp(receiver, database.pool);
  };

  const claim = cutAnswerOf(way, 'claim-lanes');
  const id = await subscribe(willow, receiver);
  await until('a claim without an answer', claim);
  await expectAllServed();

  const release = cutRequestOf(way, 'release-lanes');
  await call(willow, 'PATCH', `/webhooks/${id}`, { enabled: false });
  await until('a release that does not arrive', release);
  await call(willow, 'PATCH', `/webhooks/${id}`, { enabled: true });
  await expectAllServed();

  const renewal = cutAnswerOf(way, 'renew-lanes');
  await until('a renewal without an answer', renewal);
  await expectAllServed();
  expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), await caughtUp(receiver, database.pool));
});

/** Cuts the connection once the next statement of this name is committed, before that is known; tells whether it has. */
function cutAnswerOf(way: TcpProxy<PostgresPacket>, statement: string): () => boolean {
  let asker: number | null = null;
  let isCut = false;
  way.judge(({ from, packet: { type, text }, connection }) => {
    if (from === 'client' && type === 'B' && text === statement) asker ??= connection;
    if (isCut || from === 'client' || connection !== asker) return 'pass';
    // ReadyForQuery: by now it is committed.
    if (type !== 'Z') return 'swallow';
    isCut = true;
    return 'cut';
  });
  return () => isCut;
}

/** Cuts the connection of the next statement of this name before it arrives; tells whether it has. */
function cutRequestOf(way: TcpProxy<PostgresPacket>, statement: string): () => boolean {
  let isCut = false;
  way.judge(({ from, packet }) => {
    if (isCut || from === 'server' || packet.text !== statement) return 'pass';
    isCut = true;
    return 'cut';
  });
  return () => isCut;
}
