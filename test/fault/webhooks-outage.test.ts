// A receiver that is away for days: the clock is the test's, and moves by hours. Nothing is lost while it is away; what never works is disabled,
// with its place kept; and what fails alone is parked.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startApp } from '../../src/app.ts';
import { UserId } from '../../src/core/ids.ts';
import { createLogger } from '../../src/runtime/logger.ts';
import { parseSettings } from '../../src/settings.ts';
import { laneOf } from '../../src/webhooks/message.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import {
  caughtUp,
  expectTrueCopy,
  openVisits,
  openWatchedReceiver,
  renewed,
  sending,
  type Visits,
  type WatchedReceiver,
  wireLog,
  withoutRepeatedIds,
} from '../support/webhook-storm.ts';
import { call, subscribe, webhookOf } from '../support/webhooks.ts';
import { secretKey, type Willow } from '../support/willow.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const lanes = 4;
const userIds = Array.from({ length: 12 }, (_, index) => `user-${index}`);

let stack: AsyncDisposableStack;
let database: TestDatabase;
let receiver: WatchedReceiver;
let visits: Visits;
let willow: Pick<Willow, 'http'>;
let id: string;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  stack.defer(() => {
    vi.useRealTimers();
  });
  // Of the clock only what tells the time of day: it stands still until a test moves it. The receiver's library reads the same.
  vi.useFakeTimers({ toFake: ['Date'] });
  database = stack.use(await createDatabase());
  receiver = stack.use(await openWatchedReceiver());
  visits = stack.use(openVisits(database.url));
  const settings = parseSettings({ ...sending, HTTP_PORT: '0', SECRET_KEY: secretKey }, () => '');
  const urls = { MQTT_URL: 'mqtt://127.0.0.1', DATABASE_URL: database.url };
  const app = stack.use(
    await startApp({ ...settings, ...urls }, createLogger({ level: 'silent', isPretty: false }), Date.now),
  );
  willow = { http: app.httpUrl };
  // Ahead of the clock of the database, which does not stand still.
  vi.setSystemTime(Date.now() + hourMs);
  id = await subscribe(willow, receiver, { lanes });
});

afterEach(async () => {
  await stack.disposeAsync();
});

/** Time passes when nothing is on its way; returns when each lane that has something to send has tried once more. */
async function pass(ms: number, lanesWaiting = lanes): Promise<void> {
  await until(`${lanesWaiting} lanes that wait`, async () => {
    const waiting = 'select from lanes where attempts > 0 and next_at > $1';
    return (await database.pool.query(waiting, [new Date()])).rows.length >= lanesWaiting;
  });
  const before = receiver.deliveries().length;
  vi.setSystemTime(Date.now() + ms);
  await tried(before, lanesWaiting);
}

async function tried(after: number, lanesWaiting: number): Promise<void> {
  await until(`tries of ${lanesWaiting} lanes`, () => {
    const since = receiver.deliveries().slice(after);
    return new Set(since.map(({ events: [event] }) => laneOfUser(event?.userId))).size >= lanesWaiting;
  });
}

function laneOfUser(userId = ''): number {
  return laneOf(UserId.parse(userId), lanes);
}

/** The receiver fails from here on, with something to fail at for each lane. */
async function fail(answer: Parameters<WatchedReceiver['answer']>[0]): Promise<void> {
  const before = receiver.deliveries().length;
  receiver.answer(answer);
  await visits.visit(userIds);
  await tried(before, lanes);
}

/** All events of these users are taken, and what that says about the endpoint is known to those who send. */
async function served(isMeant: (userId: string) => boolean): Promise<void> {
  const log = (await wireLog(database.pool)).filter(({ userId }) => isMeant(userId));
  await until(`${log.length} events taken`, () => {
    const taken = new Set(receiver.taken().map(({ position }) => position));
    return log.every(({ position }) => taken.has(position));
  });
  await until('a success that is recorded', async () => (await webhookOf(willow, id)).lastSuccessAt === now());
  await renewed(database.pool);
}

function now(): string {
  return new Date().toISOString();
}

async function parkedPositions(): Promise<readonly number[]> {
  const { rows } = await database.pool.query<{ position: number }>(
    'select position::int from parked order by position',
  );
  return rows.map(({ position }) => position);
}

async function expectAllTaken(): Promise<void> {
  const log = await caughtUp(receiver, database.pool);
  expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), log);
  expect(receiver.overtakings).toEqual([]);
  expect(await parkedPositions()).toEqual([]);
}

test('a receiver that is away for 72 hours gets everything afterwards, in order', async () => {
  await visits.visit(userIds);
  await caughtUp(receiver, database.pool);
  await fail((_delivery, response) => void response.destroy());
  for (let hours = 0; hours < 72; hours += 6) {
    await pass(6 * hourMs);
    await visits.visit(userIds);
  }
  expect(await webhookOf(willow, id)).toMatchObject({ status: 'enabled' });
  expect(receiver.taken()).toHaveLength(2 * userIds.length);
  receiver.answer(() => 204);
  await pass(10 * minuteMs);
  await expectAllTaken();
});

test('after 5 days of nothing but failure an endpoint is disabled, and enabled again it goes on from where it was', async () => {
  await visits.visit(userIds);
  await caughtUp(receiver, database.pool);
  await fail(() => 503);
  for (let hours = 12; hours < 120; hours += 12) {
    await pass(12 * hourMs);
    expect(await webhookOf(willow, id)).toMatchObject({ status: 'enabled' });
  }
  await pass(12 * hourMs, 1);
  const { disabledReason, lag } = await until('an endpoint that is disabled', async () => {
    const webhook = await webhookOf(willow, id);
    return webhook.status === 'disabled' && webhook;
  });
  expect(disabledReason).toBe('failing');
  // What the other lanes were sending in that moment has ended.
  await until('nobody who sends', async () => {
    const { rowCount } = await database.pool.query('select from lanes where endpoint_id = $1 and holder is not null', [
      id,
    ]);
    return rowCount === 0;
  });
  receiver.answer(() => 204);
  vi.setSystemTime(Date.now() + 24 * hourMs);
  await visits.visit(userIds);
  expect((await webhookOf(willow, id)).lag.position).toBe(lag.position);
  expect(receiver.taken()).toHaveLength(2 * userIds.length);
  expect((await call(willow, 'POST', `/webhooks/${id}/enable`)).status).toBe(200);
  await expectAllTaken();
});

test('an event that fails for 24 hours while others succeed is parked, and its lane goes on; retried, it comes under the same id', async () => {
  const [unlucky = ''] = userIds;
  const others = userIds.filter((userId) => laneOfUser(userId) !== laneOfUser(unlucky));
  const isOther = (userId: string) => others.includes(userId);
  receiver.answer(({ events: [event] }) => (event?.userId === unlucky ? 500 : 204));
  await visits.visit([unlucky]);
  const [first] = await receiver.deliveredWhen(1);
  const position = first?.events[0]?.position ?? 0;
  const beginMs = Date.now();
  for (let tries = 0; (await parkedPositions()).length === 0; tries += 1) {
    expect(tries).toBeLessThan(20);
    await visits.visit(others);
    await served(isOther);
    await pass(Date.now() < beginMs + 24 * hourMs ? 6 * hourMs : 10 * minuteMs, 1);
  }
  expect(await parkedPositions()).toEqual([position]);
  expect(Date.now() - beginMs).toBeGreaterThanOrEqual(24 * hourMs);
  // The one behind it has failed once by now.
  await until('a try of the next one', () =>
    receiver.deliveries().some(({ id: tried }) => tried === `${id}_${position + 1}`),
  );
  receiver.answer(() => 204);
  await pass(10 * minuteMs, 1);
  await until('the next one taken', () => receiver.taken().some((event) => event.position === position + 1));
  expect(receiver.taken().some((event) => event.position === position)).toBe(false);
  await call(willow, 'POST', `/webhooks/${id}/parked/retry`);
  await caughtUp(receiver, database.pool);
  expect(receiver.deliveries().findLast(({ events: [event] }) => event?.position === position)?.id).toBe(first?.id);
  await until('nothing parked', async () => (await parkedPositions()).length === 0);
  expect(receiver.overtakings).toEqual([]);
});

test('a receiver that comes back after 72 hours, and takes some time to recover, still gets everything in order: no event is parked for the days on which it was away', async () => {
  await visits.visit(userIds);
  await caughtUp(receiver, database.pool);
  await fail(() => 503);
  for (let hours = 0; hours < 72; hours += 12) await pass(12 * hourMs);
  // One lane finds it well, and the others do not, for half an hour.
  const isWell = (userId = '') => laneOfUser(userId) === laneOfUser(userIds[0]);
  receiver.answer(({ events: [event] }) => (isWell(event?.userId) ? 204 : 503));
  await pass(10 * minuteMs);
  for (let times = 0; times < 3; times += 1) {
    await visits.visit(userIds.filter(isWell));
    await served(isWell);
    await pass(10 * minuteMs, lanes - 1);
  }
  receiver.answer(() => 204);
  await pass(10 * minuteMs, lanes - 1);
  expect(await parkedPositions()).toEqual([]);
  await expectAllTaken();
});
