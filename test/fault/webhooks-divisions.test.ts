// The lanes of an endpoint are divided anew, batches change their size, and the log is replayed, all under load: each user's events keep their order.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { withoutRepeats } from '../support/receiver.ts';
import { until } from '../support/until.ts';
import {
  caughtUp,
  expectTrueCopy,
  openVisits,
  openWatchedReceiver,
  renewed,
  sending,
  startLoad,
  type WatchedReceiver,
} from '../support/webhook-storm.ts';
import { call, subscribe } from '../support/webhooks.ts';
import { startWillow, type Willow } from '../support/willow.ts';

/** Between one change and the next. */
const takenBetween = 150;

let stack: AsyncDisposableStack;
let database: TestDatabase;
let receiver: WatchedReceiver;
let willow: Willow;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  database = stack.use(await createDatabase());
  receiver = stack.use(await openWatchedReceiver());
  willow = await start();
});

afterEach(async () => {
  await stack.disposeAsync();
});

async function start(): Promise<Willow> {
  return stack.use(await startWillow({ DATABASE_URL: database.url, ...sending }));
}

async function change(path: string, body: Readonly<Record<string, unknown>>): Promise<void> {
  const method = path.endsWith('/replay') ? 'POST' : 'PATCH';
  const { status, body: answer } = await call(willow, method, path, body);
  expect(status, JSON.stringify(answer)).toBe(200);
}

async function goOn(): Promise<void> {
  const before = receiver.deliveries().length;
  const taken = () =>
    receiver
      .deliveries()
      .slice(before)
      .reduce((sum, { events }) => sum + events.length, 0);
  await until(`${takenBetween} events taken`, () => taken() >= takenBetween);
}

async function divisions(): Promise<
  readonly { readonly generation: number; readonly lanes: number; readonly held: number }[]
> {
  const { rows } = await database.pool.query<{ generation: number; lanes: number; held: number }>(
    'select generation, count(*)::int as lanes, count(holder)::int as held from lanes group by generation order by generation',
  );
  return rows;
}

async function expectNothingLost(): Promise<void> {
  const log = await caughtUp(receiver, database.pool);
  expectTrueCopy(withoutRepeats(receiver.deliveries()), log);
  expect(receiver.overtakings).toEqual([]);
}

test('a new division begins when every lane of the old one has come to the mark: an event is not overtaken by a later one of its user in another lane', async () => {
  const userIds = Array.from({ length: 20 }, (_, index) => `user-${index}`);
  await using visits = openVisits(database.url);
  const id = await subscribe(willow, receiver, { lanes: 8 });
  const slow = receiver.close(({ events: [event] }) => event?.userId === 'slow');
  await visits.visit(['slow', ...userIds]);
  await until('an event under way', () => slow.held.length > 0);
  await change(`/webhooks/${id}`, { lanes: 3 });
  await visits.visit(['slow', ...userIds]);
  await until('one lane left of the old division', async () => (await divisions())[0]?.lanes === 1);
  await renewed(database.pool);
  expect(await divisions()).toEqual([
    { generation: 1, lanes: 1, held: 1 },
    { generation: 2, lanes: 3, held: 0 },
  ]);
  // Another change takes the place of the one that waits.
  await change(`/webhooks/${id}`, { lanes: 16 });
  await renewed(database.pool);
  expect(await divisions()).toEqual([
    { generation: 1, lanes: 1, held: 1 },
    { generation: 3, lanes: 16, held: 0 },
  ]);
  expect(new Set(slow.held.map(({ id: held }) => held)).size).toBe(1);
  slow.release();
  await until('the new division', async () => (await divisions()).length === 1);
  await expectNothingLost();
});

test('lanes and batches change under load, with two processes, one of which is killed: nothing is lost, and each user hears theirs in order', async () => {
  const other = await start();
  const id = await subscribe(willow, receiver, { lanes: 8 });
  await using load = startLoad(database.url);
  const changes = [
    { lanes: 3 },
    { maxBatch: 20 },
    { lanes: 16 },
    { maxBatch: 1, lanes: 5 },
    { maxBatch: 7 },
    { lanes: 1 },
    { lanes: 64, maxBatch: 3 },
    { lanes: 8, maxBatch: 1 },
  ];
  for (const [index, next] of changes.entries()) {
    await goOn();
    await change(`/webhooks/${id}`, next);
    // And once more at once, while the old lanes are on their way to the mark.
    if (index % 2 === 1) await change(`/webhooks/${id}`, { lanes: 2 + index });
    if (index === 5) await other.child.end('SIGKILL');
  }
  await goOn();
  await load.end();
  await expectNothingLost();
  const { rows } = await database.pool.query<{ generation: number }>('select distinct generation from lanes');
  expect(rows[0]?.generation).toBeGreaterThan(5);
});

test('a replay under load repeats everything from its position on, each user in order, under the same ids, and loses nothing that is new', async () => {
  const id = await subscribe(willow, receiver, { lanes: 8 });
  await using load = startLoad(database.url);
  for (const maxBatch of [1, 10]) {
    await change(`/webhooks/${id}`, { maxBatch });
    await goOn();
    const { rows } = await database.pool.query<{ head: number }>('select position::int as head from log_head');
    const head = rows[0]?.head ?? 0;
    const after = Math.floor(head / 2);
    const before = receiver.deliveries().length;
    await change(`/webhooks/${id}/replay`, { after });
    const again = () => {
      const events = receiver
        .deliveries()
        .slice(before)
        .flatMap((delivery) => delivery.events);
      return new Set(events.map(({ position }) => position));
    };
    await until('all of it again', () => {
      const positions = again();
      return Array.from({ length: head - after }, (_, index) => after + 1 + index).every((p) => positions.has(p));
    });
    await goOn();
  }
  await load.end();
  await expectNothingLost();
  // Of what came more than once, the last time counts here: that is the replay, or what came after it.
  const lastTimes = withoutRepeats(receiver.deliveries().toReversed().map(reversed)).toReversed();
  expectTrueCopy(lastTimes, await caughtUp(receiver, database.pool));
  const singles = receiver.deliveries().filter(({ events }) => events.length === 1);
  expect(singles.map((delivery) => delivery.id)).toEqual(
    singles.map(({ events: [event] }) => `${id}_${event?.position}`),
  );
});

function reversed(delivery: ReturnType<WatchedReceiver['deliveries']>[number]) {
  return { ...delivery, events: delivery.events.toReversed() };
}
