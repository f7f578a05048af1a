// What the benches of webhooks play on: databases of one tuned PostgreSQL, a Mosquitto, the receiver in its own process, a publisher at a
// given rate, and the REST calls.

import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import mqtt from 'mqtt';
import pg from 'pg';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { databaseAt } from '../support/database-url.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startChild } from '../support/process.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import type { Arrival } from './receiver.ts';
import { monotonicMs } from './stats.ts';
import { startTunedPostgres } from './tuned-postgres.ts';

export type Database = AsyncDisposable & { readonly url: string; readonly pool: pg.Pool };

export type BenchReceiver = AsyncDisposable & {
  readonly url: string;
  /** Once so many events have come to the paths that begin so: when the last of them was answered. */
  readonly when: (path: string, count: number) => Promise<number>;
  readonly arrivals: (path: string) => Promise<readonly Arrival[]>;
  readonly repeats: () => Promise<number>;
};

export type Stage = AsyncDisposable & {
  readonly mosquitto: Mosquitto;
  readonly receiver: BenchReceiver;
  readonly createDatabase: (name: string) => Promise<Database>;
  /** A Willow that is connected to the broker, with no grace, and may call loopback. */
  readonly startWillow: (database: Pick<Database, 'url'>) => Promise<Willow>;
};

const allowLoopback = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOW_NETWORKS: '127.0.0.0/8' };
/** Less than what `fetch` waits for the head of an answer. */
const whenMsMax = 290_000;

export async function openStage(): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const postgres = opening.use(await startTunedPostgres());
  const mosquitto = opening.use(await startMosquitto({ inflightMax: 1_000 }));
  const receiver = opening.use(await startReceiver());
  const opened = opening.move();
  return {
    mosquitto,
    receiver,
    createDatabase: (name) => createDatabase(postgres.url, name),
    startWillow: async ({ url }) => {
      const broker = { MQTT_URL: mosquitto.url, GRACE_MS: '0' };
      const willow = await startWillow({ DATABASE_URL: url, LOG_LEVEL: 'info', ...broker, ...allowLoopback });
      await willow.logged('link.up');
      return willow;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function createDatabase(serverUrl: string, name: string): Promise<Database> {
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  const url = databaseAt(serverUrl, name);
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  await migrate(pool, await loadMigrations(new URL('../../prisma/migrations/', import.meta.url)));
  return { url, pool, [Symbol.asyncDispose]: () => pool.end() };
}

async function startReceiver(): Promise<BenchReceiver> {
  const child = await startChild(process.execPath, ['test/bench/receiver.ts']);
  const url = await child.line((line) => line.startsWith('http') && line, 'its address');
  const ask = async (path: string): Promise<unknown> =>
    (await fetch(`${url}${path}`, { signal: AbortSignal.timeout(whenMsMax) })).json();
  return {
    url,
    when: async (path, count) => (await ask(`/when?path=${path}&count=${count}`)) as number,
    arrivals: async (path) => (await ask(`/arrivals?path=${path}`)) as Arrival[],
    repeats: async () => ((await ask('/counts')) as { readonly repeats: number }).repeats,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

type Wish = { readonly url: string } & { readonly [name: string]: unknown };

/** Returns the id of the endpoint. */
export async function createEndpoint(willow: Willow, wish: Wish): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${willow.http}/webhooks`, { method: 'POST', headers, body: JSON.stringify(wish) });
  if (response.status !== 201)
    throw new Error(`an endpoint was answered with ${response.status}: ${await response.text()}`);
  return ((await response.json()) as { readonly id: string }).id;
}

export async function removeEndpoint(willow: Willow, id: string): Promise<void> {
  const { status } = await fetch(`${willow.http}/webhooks/${id}`, { method: 'DELETE' });
  if (status !== 204) throw new Error(`a removal was answered with ${status}`);
}

export async function positionOf({ pool }: Database): Promise<number> {
  const { rows } = await pool.query<{ position: string }>('select position from log_head');
  return Number(rows[0]?.position);
}

export type Signals = { readonly users: readonly string[]; readonly epoch: number };

/** Users that are online, each with one session. */
export async function login(stage: Stage, database: Database, { users, epoch }: Signals): Promise<void> {
  const before = await positionOf(database);
  const client = await mqtt.connectAsync(stage.mosquitto.url, { reconnectPeriod: 0 });
  await Promise.all(users.map((userId) => client.publishAsync('/login', payloadOf(userId, epoch), { qos: 1 })));
  await client.endAsync();
  // session.started, user.online
  await until('all are online', async () => (await positionOf(database)) >= before + 2 * users.length);
}

/** Says the wills of these users at a rate; returns when each was given to the broker, by the clock of `monotonicMs`. */
export async function publishWills(
  stage: Stage,
  { users, epoch, perSecond }: Signals & { readonly perSecond: number },
): Promise<ReadonlyMap<string, number>> {
  const client = await mqtt.connectAsync(stage.mosquitto.url, { reconnectPeriod: 0 });
  const publishedAtMs = new Map<string, number>();
  const underWay: Promise<unknown>[] = [];
  const startedAtMs = monotonicMs();
  for (const [n, userId] of users.entries()) {
    const waitMs = startedAtMs + (n * 1_000) / perSecond - monotonicMs();
    if (waitMs > 1) await delay(waitMs);
    publishedAtMs.set(userId, monotonicMs());
    underWay.push(client.publishAsync('/logout', payloadOf(userId, epoch), { qos: 1 }));
  }
  await Promise.all(underWay);
  await client.endAsync();
  return publishedAtMs;
}

function payloadOf(userId: string, epoch: number): string {
  return JSON.stringify({ userId, sessionId: 'phone', epoch });
}

/** Of the events of these types, from the publication of the will to the receiver's answer, in ms. */
export function latenciesMs(
  arrivals: readonly Arrival[],
  publishedAtMs: ReadonlyMap<string, number>,
): readonly number[] {
  return arrivals.flatMap(([, userId, , atMs]) => {
    const publishedMs = publishedAtMs.get(userId);
    return publishedMs === undefined ? [] : [atMs - publishedMs];
  });
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** What else the machine does, for whoever reads the figures. */
export function machineLoad(): string {
  return `load ${loadavg()[0]?.toFixed(2)}`;
}
