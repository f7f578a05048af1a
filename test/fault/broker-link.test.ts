// A link to the broker that is busy, silent, refused once, or new: what may lapse, and what must be remembered, in between.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { joinAll, openBareClient } from './broker-crowd.ts';
import {
  comingsAndGoings,
  countLogged,
  drain,
  expectLog,
  nthLogged,
  publicationOf,
  publishAll,
  readSoundLog,
} from './broker-witness.ts';

let mosquitto: Mosquitto;
let database: TestDatabase;

beforeEach(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
});

afterEach(async () => {
  for (const part of [database, mosquitto]) await part[Symbol.asyncDispose]();
});

async function start(environment: Readonly<Record<string, string>> = {}): Promise<Willow> {
  return startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...environment });
}

/** The broker knows Willow's session, and Willow is away. */
async function leaveSession(): Promise<void> {
  await using willow = await start();
  await willow.logged('link.up');
  await willow.child.end('SIGTERM');
}

const userIds = Array.from({ length: 20 }, (_, index) => `user-${index}`);
const alice = { userId: 'alice', sessionId: 'phone', atMs: 0 };

/** Until everything is settled, or the link was given up on the way. */
async function drainOnOneLink(willow: Willow): Promise<void> {
  const settled = drain(mosquitto.url, willow);
  settled.catch(() => undefined);
  const givenUp = until(
    'the end of the link',
    () => countLogged(willow, 'link.down') + countLogged(willow, 'loop.failed') > 0,
  );
  givenUp.catch(() => undefined);
  await Promise.race([settled, givenUp]);
  expect(countLogged(willow, 'link.down') + countLogged(willow, 'loop.failed'), 'links that were given up').toBe(0);
}

test('a process that is killed while it catches up with a long queue is no obstacle to the next one', async () => {
  const messages = comingsAndGoings(userIds, 500);
  await leaveSession();
  await publishAll(mosquitto.url, messages.map(publicationOf));
  {
    await using willow = await start();
    await nthLogged(willow, 'batch.settled', 3);
    await willow.child.end('SIGKILL');
  }
  // The broker delivers again what was not acknowledged, all of it before it answers to SUBSCRIBE.
  await using willow = await start();
  await drainOnOneLink(willow);
  expectLog(await readSoundLog(database.pool), messages);
});

test('a link that is busy is not taken for a dead one, however slow the database is', async () => {
  const messages = comingsAndGoings(userIds, 400);
  await leaveSession();
  await publishAll(mosquitto.url, messages.map(publicationOf));
  await database.pool.query(`
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.4); return null; end $$;
    create trigger slow after update on log_head for each statement execute function slow()`);
  await using willow = await start();
  await drainOnOneLink(willow);
  expectLog(await readSoundLog(database.pool), messages);
});

test('I6: no grace elapses while the broker is silent and the link is not known to be down yet', async () => {
  await using willow = await start({ GRACE_MS: '3000' });
  await willow.logged('link.up');
  using device = await openBareClient(mosquitto.port, { clientId: 'device', clean: true });
  const [first, second] = await joinAll(
    mosquitto.port,
    ['bob', 'alice'].map((userId) => ({ userId, sessionId: 'phone', epoch: 1 })),
  );
  first?.vanish();
  // From here on deadlines lapse as they come: the link has been up for longer than a grace.
  await willow.presenceWhen('bob', ({ sequence }) => sequence === 4);
  second?.vanish();
  await willow.presenceWhen('alice', ({ sessions }) => sessions[0]?.status === 'lost');
  mosquitto.child.kill('SIGSTOP');
  const { topic, payload } = publicationOf({ ...alice, kind: 'login', epoch: 2 });
  const born = device.publish(topic, payload);
  await willow.logged('link.down');
  mosquitto.child.kill('SIGCONT');
  await born;
  await drain(mosquitto.url, willow);
  const log = await readSoundLog(database.pool);
  const announced = log.filter(({ userId }) => userId === 'alice').map(({ type }) => type);
  expect(announced).toEqual(['session.started', 'user.online']);
});

test('I6: no grace elapses while the birth waits in the queue of the broker', async () => {
  const environment = { GRACE_MS: '300' };
  {
    await using willow = await start(environment);
    await willow.logged('link.up');
    await publishAll(mosquitto.url, [publicationOf({ ...alice, kind: 'login', epoch: 1 })]);
    await willow.presenceWhen('alice', ({ status }) => status === 'online');
    await willow.child.end('SIGTERM');
  }
  const queued = [
    { ...alice, kind: 'will' as const, epoch: 1 },
    ...comingsAndGoings(userIds, 500),
    { ...alice, kind: 'login' as const, epoch: 2 },
  ];
  await publishAll(mosquitto.url, queued.map(publicationOf));
  await using willow = await start(environment);
  await drain(mosquitto.url, willow);
  const log = await readSoundLog(database.pool);
  const announced = log.filter(({ userId }) => userId === 'alice').map(({ type }) => type);
  expect(announced).toEqual(['session.started', 'user.online']);
});

test('a broker that once hung up while it started is spoken to in MQTT 5 later on', async () => {
  let visits = 0;
  await using stack = new AsyncDisposableStack();
  const front = createServer((socket) => {
    visits += 1;
    socket.on('error', () => undefined);
    if (visits === 1) {
      socket.once('data', () => socket.end());
      return;
    }
    const behind = connect(mosquitto.port, '127.0.0.1').on('error', () => socket.destroy());
    socket.pipe(behind).pipe(socket);
    socket.once('close', () => behind.destroy());
  }).listen(0, '127.0.0.1');
  stack.defer(() => void front.close());
  await once(front, 'listening');
  const { port } = front.address() as { port: number };
  const willow = stack.use(await start({ MQTT_URL: `mqtt://127.0.0.1:${port}` }));
  await willow.logged('link.up');
  expect(visits).toBeGreaterThan(1);
  await mosquitto.stop('SIGTERM');
  await mosquitto.restart();
  expect(await nthLogged(willow, 'link.up', 2)).toMatchObject({ protocolVersion: 5 });
});

test('that wills may have been lost is not forgotten by a process that dies before it could record it', async () => {
  {
    await using willow = await start();
    await willow.logged('link.up');
    await publishAll(mosquitto.url, [publicationOf({ ...alice, kind: 'login', epoch: 1 })]);
    await willow.presenceWhen('alice', ({ status }) => status === 'online');
    await refuseToRecordGaps();
    await mosquitto.stop('SIGKILL');
    await mosquitto.restart();
    await willow.child.line((line) => line.includes('"57P03"'), 'that the database refused');
    await willow.child.end('SIGKILL');
  }
  await database.pool.query('drop trigger refuse on links');
  await using willow = await start();
  await willow.logged('link.up');
  await drain(mosquitto.url, willow);
  expect(await willow.presence('alice')).toMatchObject({ status: 'online', stale: true });
});

async function refuseToRecordGaps(): Promise<void> {
  await database.pool.query(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '57P03'; end $$;
    create trigger refuse before update on links for each row when (new.gap_at is distinct from old.gap_at) execute function refuse()`);
}
