// Several processes share the lanes. One is stopped and wakes up, one is killed, one is told to end: the others go on with its lanes, where it was.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserId } from '../../src/core/ids.ts';
import { laneOf } from '../../src/webhooks/message.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { type PostgresPacket, postgres } from '../support/framing.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import {
  caughtUp,
  expectTrueCopy,
  type Load,
  openWatchedReceiver,
  sending,
  startLoad,
  type WatchedReceiver,
  withoutRepeatedIds,
} from '../support/webhook-storm.ts';
import { subscribe } from '../support/webhooks.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { claimsOf, intrusions, lanesOf, recorders, watchLanes } from './webhooks-notes.ts';

const lanes = 8;
const maxBatch = 5;
/** The lease of a lane is 6 s; the rest is for a slow machine. */
const takeoverMsMax = 30_000;

let stack: AsyncDisposableStack;
let database: TestDatabase;
let single: WatchedReceiver;
let batched: WatchedReceiver;
let load: Load;
let endpointIds: readonly string[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  database = stack.use(await createDatabase());
  await watchLanes(database.pool);
  single = stack.use(await openWatchedReceiver());
  batched = stack.use(await openWatchedReceiver());
});

afterEach(async () => {
  await stack.disposeAsync();
});

/** By its name the database tells who writes. Each of them has some of the lanes. */
async function share(names: readonly string[], urlOfFirst = database.url): Promise<readonly Willow[]> {
  const willows = await Promise.all(
    names.map(async (name, index) => {
      const url = new URL(index === 0 ? urlOfFirst : database.url);
      url.searchParams.set('application_name', name);
      return stack.use(await startWillow({ DATABASE_URL: url.href, ...sending }));
    }),
  );
  const [first] = willows as [Willow];
  endpointIds = [await subscribe(first, single, { lanes }), await subscribe(first, batched, { lanes, maxBatch })];
  load = stack.use(startLoad(database.url));
  await until('lanes for each process', async () => {
    const held = await lanesOf(database.pool);
    return names.every((name) => held.some((lane) => lane.process === name)) && held.every(({ holder }) => holder);
  });
  return willows;
}

async function expectNothingLost(): Promise<void> {
  await load.end();
  for (const receiver of [single, batched]) {
    const log = await caughtUp(receiver, database.pool);
    expectTrueCopy(withoutRepeatedIds(receiver.deliveries()), log);
    expect(receiver.overtakings).toEqual([]);
  }
  expect(await intrusions(database.pool)).toEqual([]);
}

/** Each lane of a process has a delivery that waits for its answer; returns their ids. */
async function holdAllOf(name: string) {
  const mine = (await lanesOf(database.pool)).filter(({ process }) => process === name);
  const gates = [single, batched].map((receiver) => receiver.close());
  const heldOf = ({ endpointId, lane }: (typeof mine)[number]) =>
    gates[endpointIds.indexOf(endpointId)]?.held.find(
      ({ events: [event] }) => laneOf(UserId.parse(event?.userId), lanes) === lane,
    );
  await until(`a delivery under way in each lane of ${name}`, () => mine.every(heldOf));
  const release = () => {
    for (const gate of gates) gate.release();
  };
  return { mine, ids: mine.flatMap((lane) => heldOf(lane)?.id ?? []), release };
}

function timesOf(id: string): number {
  return [single, batched].flatMap((receiver) => receiver.deliveries()).filter((delivery) => delivery.id === id).length;
}

test('a process that is stopped in the middle of its deliveries for longer than its lease, and wakes up, records nothing: others have its lanes, in order and complete', async ({
  annotate,
}) => {
  const way = stack.use(await startTcpProxy(Number(new URL(database.url).port), postgres));
  const url = databaseThrough(way.port, database.url);
  const [first] = (await share(['first', 'second', 'third'], url)) as [Willow];
  const { ids, release } = await holdAllOf('first');
  const record = holdRecord(way);
  release();
  await until('a record on its way', record.isHeld);
  first.child.kill('SIGSTOP');
  const stoppedAtMs = performance.now();
  await until('its lanes taken over', async () => (await lanesOf(database.pool)).every((l) => l.process !== 'first'));
  await annotate(`SIGSTOP to the last lane taken over: ${Math.round(performance.now() - stoppedAtMs)} ms`);
  for (const id of ids) await until(`${id} again`, () => timesOf(id) >= 2);
  for (const id of ids) await until(`an attempt of ${id}`, async () => (await recorders(database.pool, id)).length > 0);

  const claimsBefore = await claimsOf(database.pool, 'first');
  way.judge(null);
  way.release();
  await until('the answer to its record', record.isAnswered);
  first.child.kill('SIGCONT');
  await until('lanes for it again', async () => (await claimsOf(database.pool, 'first')) > claimsBefore);
  await expectNothingLost();
  for (const id of ids) {
    const by = await recorders(database.pool, id);
    expect(by).toHaveLength(1);
    expect(by).not.toContain('first');
  }
});

test('the lanes of a process that is killed are taken over within seconds, and nothing is lost', async ({
  annotate,
}) => {
  const [first] = (await share(['first', 'second'])) as [Willow];
  const { ids, release } = await holdAllOf('first');
  const killedAtMs = performance.now();
  await first.child.end('SIGKILL');
  release();
  await until('its lanes taken over', async () => (await lanesOf(database.pool)).every((l) => l.process === 'second'));
  const takeoverMs = performance.now() - killedAtMs;
  await annotate(`SIGKILL to the last lane taken over: ${Math.round(takeoverMs)} ms`);
  expect(takeoverMs).toBeLessThan(takeoverMsMax);
  for (const id of ids) await until(`${id} again`, () => timesOf(id) >= 2);
  await expectNothingLost();
});

test('a process that is told to end records what is under way, and then gives its lanes away at once: no webhook comes twice', async () => {
  const way = stack.use(await startTcpProxy(Number(new URL(database.url).port), postgres));
  const [first] = (await share(['first', 'second'], databaseThrough(way.port, database.url))) as [Willow];
  const { release } = await holdAllOf('first');
  const written: string[] = [];
  way.watch(({ from, packet: { type, text } }) => {
    if (from === 'client' && type === 'B' && ['write-lanes', 'leave-workers'].includes(text)) written.push(text);
  });
  first.child.kill('SIGTERM');
  release();
  expect(await first.child.exited).toBe(0);
  expect(written.slice(-2)).toEqual(['write-lanes', 'leave-workers']);
  const left = (await lanesOf(database.pool)).filter(({ process, holder }) => process === 'first' && holder !== null);
  expect(left).toEqual([]);
  expect((await database.pool.query('select from workers')).rowCount).toBe(1);
  await until('its lanes taken over', async () => (await lanesOf(database.pool)).every((l) => l.process === 'second'));
  await expectNothingLost();
  const ids = [single, batched].flatMap((receiver) => receiver.deliveries().map(({ id }) => id));
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
});

/** Holds everything from the next record on, until the release; then tells when it has been answered. */
function holdRecord(way: TcpProxy<PostgresPacket>) {
  let recorder: number | null = null;
  let isAnswered = false;
  way.judge(({ from, packet: { type, text }, connection }) => {
    if (recorder !== null || from === 'server' || type !== 'B' || text !== 'write-lanes') return 'pass';
    recorder = connection;
    return 'hold';
  });
  way.watch(({ from, packet: { type }, connection }) => {
    if (from === 'server' && connection === recorder && type === 'C') isAnswered = true;
  });
  return { isHeld: () => recorder !== null, isAnswered: () => isAnswered };
}
