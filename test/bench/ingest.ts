// npm run bench:ingest: how fast messages become durable, side by side in one run against the same Mosquitto and the same PostgreSQL.
// Questions, method and traps: test/bench/README.md. Prints Markdown.

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import mqtt from 'mqtt';
import pg from 'pg';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { headerOf, listedKey } from '../../src/tickets/keys.ts';
import { jws } from '../core/tickets.ts';
import { databaseAt } from '../support/database-url.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startChild } from '../support/process.ts';
import { until } from '../support/until.ts';
import { secretKey, startWillow, type Willow } from '../support/willow.ts';
import { publishPairs } from './load.ts';
import { percentile, shown, spreadOf } from './stats.ts';
import { startTunedPostgres } from './tuned-postgres.ts';

const isQuick = process.argv.includes('--quick');
const rounds = isQuick ? 1 : 5;
const users = isQuick ? 20_000 : 100_000;
/** The slow ones get fewer messages; a rate is a rate. */
const usersOf = { ceiling: users, usual: users / 10, durable: users / 50 } as const;
const windowMessages = 1_000;

await using postgres = await startTunedPostgres();
await using mosquitto = await startMosquitto({ inflightMax: windowMessages });

async function createDatabase(name: string): Promise<string> {
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  const url = databaseAt(postgres.url, name);
  const pool = new pg.Pool({ connectionString: url });
  await migrate(pool, await loadMigrations(new URL('../../prisma/migrations/', import.meta.url)));
  await pool.end();
  return url;
}

/** The broker keeps what comes for a session that nobody is connected to. */
async function leaveSession(clientId: string): Promise<void> {
  const client = await mqtt.connectAsync(mosquitto.url, {
    clientId,
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 3600 },
    reconnectPeriod: 0,
  });
  await client.subscribeAsync(['/login/#', '/logout/#'], { qos: 1 });
  await client.endAsync();
}

let epoch = 0;

async function queueFor(
  clientId: string,
  count: number,
  moreOf: (userId: string) => object = () => ({}),
): Promise<void> {
  await leaveSession(clientId);
  epoch += 1;
  await publishPairs(mosquitto.url, { users: count, firstUser: 0, epoch, moreOf });
}

const ticketKey = listedKey(Buffer.from(secretKey, 'base64url'));

/** As Willow mints it; each user's birth and will carry the same. */
function ticketOf(userId: string): { readonly ticket: string } {
  const iat = Math.floor(Date.now() / 1_000);
  const claims = { sub: userId, sid: 'phone', iat, exp: iat + 86_400 };
  return { ticket: jws(headerOf(ticketKey), claims, ticketKey.derived) };
}

async function forget(clientId: string): Promise<void> {
  await (await mqtt.connectAsync(mosquitto.url, { clientId, clean: true, reconnectPeriod: 0 })).endAsync();
}

/** Messages per second of one of the subscribers of subscriber.ts. */
async function rateOf(variant: keyof typeof usersOf, databaseUrl: string): Promise<number> {
  const clientId = `bench-${variant}`;
  await queueFor(clientId, usersOf[variant]);
  const messages = usersOf[variant] * 2;
  await using child = await startChild(process.execPath, [
    'test/bench/subscriber.ts',
    variant,
    mosquitto.url,
    databaseUrl,
    String(messages),
  ]);
  const result = await child.line((line) => line.startsWith('{') && line, 'the result', 600_000);
  const { connectedAtMs, doneAtMs } = JSON.parse(result) as { connectedAtMs: number; doneAtMs: number };
  await forget(clientId);
  return (messages / (doneAtMs - connectedAtMs)) * 1000;
}

async function startMeasured(databaseUrl: string, more: Readonly<Record<string, string>> = {}): Promise<Willow> {
  return startWillow({ DATABASE_URL: databaseUrl, MQTT_URL: mosquitto.url, GRACE_MS: '0', LOG_LEVEL: 'info', ...more });
}

async function positionOf(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ position: string }>('select position from log_head');
  return Number(rows[0]?.position);
}

type Run = { readonly messagesPerSecond: number; readonly residentMiB: number };

/** From the moment it is connected to the commit of the last event. */
async function rateOfWillow(databaseUrl: string, count: number, hasTickets = false): Promise<Run> {
  await queueFor('willow', count, hasTickets ? ticketOf : undefined);
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  const before = await positionOf(pool);
  await using willow = await startMeasured(databaseUrl, { REQUIRE_TICKETS: String(hasTickets) });
  const up = await willow.logged('link.up');
  // started, online; ended, offline
  await until('the last commit', async () => (await positionOf(pool)) === before + 4 * count, 600_000);
  const seconds = (Date.now() - Date.parse(String(up['time']))) / 1000;
  const residentMiB = residentMiBOf(willow.child.pid);
  await willow.child.end('SIGTERM');
  await pool.end();
  // What the others are given is not for it, and whoever connected as it would take some of that away.
  await forget('willow');
  return { messagesPerSecond: (2 * count) / seconds, residentMiB };
}

/** The most it ever held. */
function residentMiBOf(pid: number): number {
  const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? Number.NaN) / 1024;
}

/** Publish → visible to a reader that asks every other millisecond, at 1,000 messages a second. */
async function latenciesMs(databaseUrl: string): Promise<number[]> {
  const messages = isQuick ? 5_000 : 30_000;
  await using willow = await startMeasured(databaseUrl);
  await willow.logged('link.up');
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  let position = await positionOf(pool);
  const client = await mqtt.connectAsync(mosquitto.url, { clientId: 'latency', reconnectPeriod: 0 });
  const publishedAtMs = new Map<string, number>();
  const latencies: number[] = [];
  epoch += 1;
  const startedAtMs = performance.now();
  const publishing = (async () => {
    for (let n = 0; n < messages; n += 1) {
      const waitMs = startedAtMs + n - performance.now();
      if (waitMs > 1) await delay(waitMs);
      const userId = `latency-${Math.floor(n / 2)}`;
      const isLogin = n % 2 === 0;
      publishedAtMs.set(`${userId}${isLogin ? 'session.started' : 'session.ended'}`, performance.now());
      client.publish(isLogin ? '/login' : '/logout', JSON.stringify({ userId, sessionId: 'phone', epoch }), { qos: 1 });
    }
  })();
  while (latencies.length < messages) {
    const { rows } = await pool.query<{ position: string; key: string; type: string }>(
      'select position, user_id || type as key, type from events where position > $1 order by position',
      [position],
    );
    const nowMs = performance.now();
    for (const { key } of rows) {
      const atMs = publishedAtMs.get(key);
      if (atMs !== undefined) latencies.push(nowMs - atMs);
    }
    position = Number(rows.at(-1)?.position ?? position);
    await delay(2);
  }
  await publishing;
  await client.endAsync();
  await pool.end();
  await willow.child.end('SIGTERM');
  await forget('willow');
  return latencies;
}

async function fill(databaseUrl: string, sessions: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    `insert into users (user_id, revision, sequence, since, last_seen_at, last_event_at)
     select 'filler-' || n, 1, 2, now(), now(), now() from generate_series(1, $1::int) n`,
    [sessions],
  );
  await client.query(
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, deadline_at)
     select 'filler-' || n, 'phone', 'online', 1, now(), now(), now() + interval '1 day' from generate_series(1, $1::int) n`,
    [sessions],
  );
  await client.query('analyze');
  await client.end();
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const willowDatabase = await createDatabase('bench_willow');
const plainDatabase = await createDatabase('bench_plain');
const plain = new pg.Client({ connectionString: plainDatabase });
await plain.connect();
await plain.query(
  "insert into users (user_id, revision, sequence) select 'user-' || n, 1, 0 from generate_series(0, $1::int - 1) n",
  [users],
);
await plain.end();

const rates = {
  ceiling: [] as number[],
  willow: [] as number[],
  tickets: [] as number[],
  usual: [] as number[],
  durable: [] as number[],
};
for (let round = 0; round < rounds; round += 1) {
  rates.ceiling.push(await rateOf('ceiling', plainDatabase));
  // In turns: what is warm for the second of them is not always the same one's.
  for (const variant of round % 2 === 0 ? (['willow', 'tickets'] as const) : (['tickets', 'willow'] as const)) {
    const { messagesPerSecond } = await rateOfWillow(willowDatabase, users, variant === 'tickets');
    rates[variant].push(messagesPerSecond);
  }
  rates.usual.push(await rateOf('usual', plainDatabase));
  rates.durable.push(await rateOf('durable', plainDatabase));
  print(
    `<!-- round ${round + 1}: ${Object.entries(rates)
      .map(([name, all]) => `${name} ${Math.round(all.at(-1) ?? 0)}`)
      .join(', ')} -->`,
  );
}
const willowMedian = spreadOf(rates.willow).median;
print('| variant | messages/s (min / median / max) | Willow is |');
print('|---|---|---|');
for (const [name, all] of Object.entries(rates)) {
  print(`| ${name} | ${shown(spreadOf(all))} | ${(willowMedian / spreadOf(all).median).toFixed(2)} × |`);
}

print(`\nwith tickets: ${(spreadOf(rates.tickets).median / willowMedian).toFixed(2)} of the rate without`);

const latencies = await latenciesMs(willowDatabase);
print(
  `\nlatency at 1,000 messages/s, publish → committed: p50 ${percentile(latencies, 0.5).toFixed(1)} ms, p99 ${percentile(latencies, 0.99).toFixed(1)} ms, max ${Math.max(...latencies).toFixed(1)} ms`,
);

for (const sessions of isQuick ? [10_000] : [10_000, 1_000_000]) {
  const database = await createDatabase(`bench_${sessions}`);
  await fill(database, sessions);
  const { messagesPerSecond, residentMiB } = await rateOfWillow(database, users);
  print(
    `\nwith ${sessions.toLocaleString('en')} sessions: ${Math.round(messagesPerSecond)} messages/s, resident at most ${residentMiB.toFixed(0)} MiB`,
  );
}
