// Two followers on two Willow processes, under load, cut off at random moments in every way there is; and what must be true of both copies
// all the while, and in the end. Each fault counts how often it struck.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { openPool } from '../../src/store/database.ts';
import { caughtUp, openFollower } from './follower.ts';
import { startCrowd } from './follower-crowd.ts';
import { type Faults, faultKinds, type Side, strikeAtPage, strikes, texts } from './follower-faults.ts';
import { differences, judge, openLogKeeper, usersInTables } from './follower-oracle.ts';
import { startMosquitto } from './mosquitto.ts';
import { type Chance, publishAll, untilSettled } from './storm.ts';
import { startTcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';
import { startWillow } from './willow.ts';

export type FollowerRun = {
  readonly faults: Faults;
  /** How often each of the ways to come and go was gone. */
  readonly ways: Readonly<Record<string, number>>;
  readonly events: number;
  /** States that were served as true, by both. */
  readonly served: number;
  /** How often a copy was begun again, and why. */
  readonly rebuilt: Readonly<Record<'gone' | 'ahead' | 'misfit', number>>;
  /** A sentence for each thing that must not be. */
  readonly harm: readonly string[];
};

type Running = {
  readonly database: { readonly url: string; readonly pool: pg.Pool };
  readonly chance: Chance;
  /** Of each fault but the one that strikes at the snapshots of others. */
  readonly rounds: number;
};

const users = 40;
/** They come and stay, so that a snapshot of those who are online has many pages. */
const residents = 30;
const pageUsersMax = 7;
/** Less than a Willow on a loaded machine takes to say anything does no harm: the follower connects again. */
const silenceMsMax = 2_000;
const pauseMsMax = 250;
const statementMsMax = 15_000;

export async function runFollowers({ database, chance, rounds }: Running): Promise<FollowerRun> {
  await using opened = new AsyncDisposableStack();
  const mosquitto = opened.use(await startMosquitto());
  const directory = await mkdtemp(join(tmpdir(), 'willow-follower-'));
  opened.defer(() => rm(directory, { recursive: true }));
  const openSide = async (name: string, roles: string, followsAll: boolean): Promise<Side> => {
    const common = { MQTT_URL: mosquitto.url, DATABASE_URL: database.url, GRACE_MS: '300', LOG_LEVEL: 'info' };
    const start = () => startWillow({ ...common, ROLES: roles });
    const willow = await start();
    const proxy = opened.use(await startTcpProxy(Number(new URL(willow.http).port), texts));
    const follower = openFollower(join(directory, name), {
      WILLOW_URL: `http://127.0.0.1:${proxy.port}`,
      ...(followsAll ? {} : { COPY_STATUS: 'online' }),
      PAGE_USERS_MAX: String(pageUsersMax),
      SILENCE_MS_MAX: String(silenceMsMax),
    });
    opened.use(follower);
    const side = { willow, proxy, start, follower, followsAll, hears: roles.includes('ingest') };
    opened.defer(() => side.willow[Symbol.asyncDispose]());
    return side;
  };
  const hearing = await openSide('first', 'ingest,api', true);
  await hearing.willow.logged('link.up');
  const sides = [hearing, await openSide('second', 'api', false)];

  await publishAll(mosquitto.url, birthsOfResidents);
  const http = () => chance.pick(sides).willow.http;
  await using crowd = startCrowd({ mosquitto, http, chance, users });
  const keeper = openLogKeeper(database.pool);
  await until('a log to begin with', async () => (await keeper.look()) > 2 * residents + users);
  const faults = Object.fromEntries(faultKinds.map((kind) => [kind, 0])) as Faults;
  const pool = openPool(database.url, { connectionsMax: 2, statementMsMax, onError: () => undefined });
  opened.defer(() => pool.end());
  const scene = { pool, chance, keeper, faults };
  for (const side of sides) {
    // The first snapshot is cut off in the middle, and begun again.
    const struck = strikeAtPage(side, faults);
    await side.follower.start();
    await struck();
    await caughtUp(side.follower, await keeper.look());
  }
  for (const [round, strike] of shuffled(chance, rounds).entries()) {
    await delay(chance.whole(pauseMsMax));
    const side = sides[round % sides.length] as Side;
    await strike(side, scene).catch((error: unknown) => {
      throw new Error(`the follower said:\n${side.follower.lines().slice(-20).join('\n')}`, { cause: error });
    });
  }
  await crowd.end();
  await untilSettled(mosquitto.url, hearing.willow);
  await until('the end of every grace', async () => {
    const { rowCount } = await database.pool.query(`select from sessions where status = 'lost'`);
    return rowCount === 0;
  });

  const head = await keeper.look();
  const truth = await usersInTables(database.pool);
  const harm: string[] = [];
  let served = 0;
  for (const [index, { follower, followsAll }] of sides.entries()) {
    await caughtUp(follower, head);
    const { wrong, states, last } = judge(follower.served(), keeper.log, followsAll);
    const inTheEnd = differences(last, truth, followsAll).map((one) => `in the end ${one}`);
    served += states;
    harm.push(...[...wrong, ...inTheEnd].map((one) => `follower ${index + 1}, ${one}`));
  }
  const rebuilt = { gone: 0, ahead: 0, misfit: 0 };
  for (const line of sides.flatMap(({ follower }) => follower.lines())) {
    if (!line.startsWith('{"event":"copy.rebuilt"')) continue;
    if (line.includes('answered 410')) rebuilt.gone += 1;
    else if (line.includes('answered 400')) rebuilt.ahead += 1;
    else rebuilt.misfit += 1;
  }
  // Beginning again mends everything, and hides what it mends: nobody begins again who need not.
  if (rebuilt.misfit > 0) harm.push(`${rebuilt.misfit} times the events did not follow on a copy`);
  if (rebuilt.ahead !== faults['database replaced']) harm.push(`${rebuilt.ahead} times a copy was ahead of the log`);
  if (rebuilt.gone > sides.length * faults['log trimmed']) harm.push(`${rebuilt.gone} times the log was gone`);
  return { faults, ways: crowd.ways(), events: head, served, rebuilt, harm };
}

const birthsOfResidents = Array.from({ length: residents }, (_, index) => ({
  topic: '/login',
  payload: JSON.stringify({ userId: `resident-${index}`, sessionId: 'home', epoch: 1 }),
}));

function shuffled(chance: Chance, rounds: number) {
  const left = Array.from({ length: rounds }, () => Object.values(strikes)).flat();
  return left
    .map((strike) => ({ strike, key: chance.whole(2 ** 30) }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ strike }) => strike);
}
