import { expect, test } from 'vitest';
import { inventBareHistory } from '../support/bare-storm.ts';
import { createDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { type PostgresPacket, postgres } from '../support/framing.ts';
import { absentees, deviations, deviationsFrom, readLog } from '../support/history.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import {
  type Chance,
  chanceOf,
  inventHistory,
  publishAll,
  split,
  stormRounds,
  untilSettled,
  wireOf,
} from '../support/storm.ts';
import { type Judge, startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

const windows = { GRACE_MS: '0', REPEAT_WINDOW_MS: '0', TAKEOVER_WINDOW_MS: '0' };

async function prepare() {
  const stack = new AsyncDisposableStack();
  const mosquitto = stack.use(await startMosquitto());
  const database = stack.use(await createDatabase());
  const way = stack.use(await startTcpProxy(Number(new URL(database.url).port), postgres));
  const willow = stack.use(
    await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: databaseThrough(way.port, database.url), ...windows }),
  );
  await willow.logged('link.up');
  return { mosquitto, database, way, willow, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function expectLinkKept(willow: Willow): void {
  const ofLink = willow.log().filter(({ event }) => ['link.up', 'link.down', 'lease.lost'].includes(event));
  expect(ofLink).toEqual([expect.objectContaining({ event: 'link.up' })]);
}

test('every connection to the database is cut under load, again and again: the link is kept, and nothing is lost or doubled', async () => {
  const chance = chanceOf('database cut');
  const rounds = stormRounds(15);
  await using ground = await prepare();
  const { mosquitto, database, way, willow } = ground;
  const said = inventHistory(chance, { users: 15 * rounds, sessionsMax: 2 });
  for (const part of split(said, rounds)) {
    let statements = 0;
    const strikesAt = 1 + chance.whole(10);
    const cutsBefore = way.faults.cut;
    way.judge(({ from, packet }) => {
      if (from === 'client' && packet.type === 'B' && packet.text !== 'renew-lease') statements += 1;
      // In the middle of the statement, so that it is not known what became of it.
      if (statements === strikesAt && way.faults.cut === cutsBefore) setImmediate(way.cut);
      return 'pass';
    });
    await publishAll(
      mosquitto.url,
      part.map((message) => wireOf(chance, message)),
    );
    await until('the cut', () => way.faults.cut > cutsBefore);
  }
  way.judge(null);
  await untilSettled(mosquitto.url, willow);
  const log = await readLog(database.pool);
  expect(deviations(log, said, 0)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
  expectLinkKept(willow);
});

type Ambiguous = {
  readonly judge: Judge<PostgresPacket>;
  readonly struck: { request: number; answer: number };
  /** Strikes at the next write for certain. */
  readonly strikeNext: () => void;
};

/** Cuts the connection of a write: before the statement arrives, or after it was committed and before that is known. Retries too. */
function makeAmbiguous(chance: Chance): Ambiguous {
  const struck = { request: 0, answer: 0 };
  let isDue = false;
  /** The connections whose answer is withheld, and whether it says that the statement was done. */
  const withheld = new Map<number, boolean>();
  const judge: Judge<PostgresPacket> = ({ from, packet: { type, text }, connection }) => {
    if (from === 'client') {
      if (type !== 'B' || text !== 'write-fenced' || !(isDue || chance.isIn(0.3))) return 'pass';
      isDue = false;
      if (chance.isIn(0.7)) {
        withheld.set(connection, false);
        return 'pass';
      }
      struck.request += 1;
      return 'cut';
    }
    const isDone = withheld.get(connection);
    if (isDone === undefined) return 'pass';
    if (type === 'C') withheld.set(connection, true);
    // ReadyForQuery: by now it is committed.
    if (type !== 'Z') return 'swallow';
    if (isDone) struck.answer += 1;
    return 'cut';
  };
  const strikeNext = () => {
    isDue = true;
  };
  return { judge, struck, strikeNext };
}

test('I4: the connection is cut between a commit and its answer: without epochs receipts tell what was committed, and nothing is lost or doubled', async () => {
  const chance = chanceOf('database ambiguous');
  const rounds = stormRounds(20);
  await using ground = await prepare();
  const { mosquitto, database, way, willow } = ground;
  const { judge, struck, strikeNext } = makeAmbiguous(chance);
  way.judge(judge);
  const { messages, expected } = inventBareHistory(chance, 10 * rounds);
  let published = 0;
  for (const part of split(messages, rounds)) {
    const before = struck.answer + struck.request;
    strikeNext();
    await publishAll(mosquitto.url, part);
    published += part.length;
    await until('the cut', () => struck.answer + struck.request > before);
    await until('all settled', async () => (await willow.metric('willow_messages_total')) === published);
  }
  way.judge(null);
  await untilSettled(mosquitto.url, willow);
  expect(struck.answer).toBeGreaterThan(rounds / 4);
  expect(struck.request).toBeGreaterThan(0);
  const log = await readLog(database.pool);
  expect(deviationsFrom(log, expected)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
  expectLinkKept(willow);
});

test('the database fails every write for longer than the keep-alive, while messages keep coming: the link is kept', async () => {
  await using ground = await prepare();
  const { mosquitto, database, way, willow } = ground;
  way.judge(({ packet }) => (packet.text === 'write-fenced' ? 'cut' : 'pass'));
  const startedMs = performance.now();
  const users: string[] = [];
  // Twice the time after which a broker gives up a client that says nothing.
  while (performance.now() - startedMs < 15_000) {
    const { cut } = way.faults;
    const userId = `user-${users.length}`;
    users.push(userId);
    await publishAll(mosquitto.url, [{ topic: '/logout', payload: userId }]);
    await until('a write that failed', () => way.faults.cut > cut);
  }
  way.judge(null);
  await untilSettled(mosquitto.url, willow);
  expectLinkKept(willow);
  expect([...(await readLog(database.pool)).keys()]).toEqual(users);
});
