// Willow dies after a webhook has arrived at its receiver and before that is recorded: with the answer still to come, or with the answer in hand.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { postgres } from '../support/framing.ts';
import type { Delivery } from '../support/receiver.ts';
import { chanceOf, stormRounds } from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import {
  caughtUp,
  expectTrueCopy,
  expireLanes,
  openWatchedReceiver,
  sending,
  startLoad,
  type WatchedReceiver,
  withoutRepeatedIds,
} from '../support/webhook-storm.ts';
import { subscribe } from '../support/webhooks.ts';
import { startWillow } from '../support/willow.ts';

const lanes = 8;
/** One is not recorded, and behind it the next is sent already. */
const unrecordedMax = 2;
/** Fewer than the attempts that are kept. */
const newestDeliveries = 200;

test('kill -9 between a POST and its record, again and again: the same webhook comes again, nothing is skipped, and each event comes once for who drops repeated ids', async () => {
  const chance = chanceOf('webhooks killed');
  const kills = stormRounds(20);
  await using database = await createDatabase();
  await using way = await startTcpProxy(Number(new URL(database.url).port), postgres);
  await using single = await openWatchedReceiver();
  await using batched = await openWatchedReceiver();
  const receivers = [single, batched];
  await using started = new AsyncDisposableStack();
  const start = async () => {
    await expireLanes(database.pool);
    return started.use(await startWillow({ DATABASE_URL: databaseThrough(way.port, database.url), ...sending }));
  };
  const passing = (deliveriesMax: number) => {
    let passed = 0;
    return () => ++passed > deliveriesMax;
  };
  let willow = await start();
  await subscribe(willow, single, { lanes });
  await subscribe(willow, batched, { lanes, maxBatch: 7 });
  await using load = startLoad(database.url);
  for (let kill = 1; kill <= kills; kill += 1) {
    const gates = receivers.map((receiver) => receiver.close(passing(chance.whole(20))));
    await until('a delivery held by each receiver', () => gates.every(({ held }) => held.length > 0));
    if (kill % 2 === 0) {
      // Answered, and every record is cut off before it arrives.
      const cutsBefore = way.faults.cut;
      way.judge(({ from, packet }) => (from === 'client' && packet.text === 'write-lanes' ? 'cut' : 'pass'));
      for (const { release } of gates) release();
      // Again and again, so that a lane that went on without its records would be far ahead.
      await until('records that are cut off', () => way.faults.cut > cutsBefore + 2);
    }
    await willow.child.end('SIGKILL');
    way.judge(null);
    const unrecorded = gates.map(({ held }) => [...held]);
    expect(await recordedOf(database.pool, unrecorded.flat())).toEqual([]);
    for (const receiver of receivers) {
      const newest = receiver.deliveries().slice(-newestDeliveries);
      const recorded = new Set(await recordedOf(database.pool, newest));
      const ids = new Set(newest.map(({ id }) => id)).difference(recorded);
      expect(ids.size).toBeLessThanOrEqual(lanes * unrecordedMax);
    }
    for (const { release } of gates) release();
    const seen = receivers.map((receiver) => receiver.deliveries().length);
    willow = await start();
    for (const [index, receiver] of receivers.entries())
      await expectAgain(receiver, seen[index] ?? 0, unrecorded[index] ?? []);
  }
  await load.end();
  for (const receiver of receivers) {
    const log = await caughtUp(receiver, database.pool);
    expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), log);
    expect(receiver.overtakings).toEqual([]);
    const repeats = receiver.deliveries().length - new Set(receiver.deliveries().map(({ id }) => id)).size;
    expect(repeats).toBeGreaterThanOrEqual(kills);
  }
  expect(batched.deliveries().filter(({ events }) => events.length > 1).length).toBeGreaterThan(kills);
});

/** Those of them of which an attempt was recorded. */
async function recordedOf(
  pool: Awaited<ReturnType<typeof createDatabase>>['pool'],
  deliveries: readonly Delivery[],
): Promise<readonly string[]> {
  const { rows } = await pool.query<{ id: string }>(
    'select webhook_id as id from attempts where webhook_id = any($1::text[])',
    [deliveries.map(({ id }) => id)],
  );
  return rows.map(({ id }) => id);
}

/** The same id, with the same content to the byte. */
async function expectAgain(receiver: WatchedReceiver, after: number, deliveries: readonly Delivery[]): Promise<void> {
  for (const { id, body } of deliveries) {
    const again = await until(`${id} again`, () =>
      receiver
        .deliveries()
        .slice(after)
        .find((delivery) => delivery.id === id),
    );
    expect(again.body).toBe(body);
  }
}
