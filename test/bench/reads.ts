// npm run bench:reads: GET /users/:id/presence, straight from the database, against a bare Fastify route that returns the same JSON.
// Side by side in one run, 64 connections, a million users. Prints Markdown.

import pg from 'pg';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startChild } from '../support/process.ts';
import { startWillow } from '../support/willow.ts';
import { shown, spreadOf } from './stats.ts';
import { startTunedPostgres } from './tuned-postgres.ts';

const isQuick = process.argv.includes('--quick');
const rounds = isQuick ? 2 : 7;
const seconds = isQuick ? 3 : 8;
const users = 1_000_000;
const connections = 64;
const callers = 16;
const apiKey = 'bench-key-0123456789abcdef';

async function fill(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  await migrate(pool, await loadMigrations(new URL('../../prisma/migrations/', import.meta.url)));
  const columns = 'user_id, revision, sequence, since, last_seen_at, last_event_at';
  await pool.query(
    `insert into users (${columns}) select 'user-' || n, 1, 2, now(), now(), now() from generate_series(1, $1::int) n`,
    [users],
  );
  await pool.query(
    `insert into sessions (user_id, session_id, status, epoch, client_id, device, started_at, last_seen_at)
     select 'user-' || n, 'phone', 'online', 1700000000000, 'client-' || n, '{"os":"android","app":"4.2.0"}', now(), now()
     from generate_series(1, $1::int) n`,
    [users],
  );
  await pool.query('vacuum analyze');
  await pool.end();
}

type Measured = { readonly requestsPerSecond: number; readonly p99: string };

/** Callers enough that none of them asks for more than a caller may. */
async function makeKeys(http: string): Promise<readonly string[]> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ name: 'bench', scopes: ['presence:read'] });
  return Promise.all(
    Array.from({ length: callers }, async () => {
      const response = await fetch(`${http}/keys`, { method: 'POST', headers, body });
      return ((await response.json()) as { key: string }).key;
    }),
  );
}

async function measure(http: string, keys: readonly string[]): Promise<Measured> {
  const limits = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`];
  await using wrk = await startChild('wrk', [
    ...limits,
    '--latency',
    '-s',
    'test/bench/presence.lua',
    http,
    '--',
    ...keys,
  ]);
  await wrk.exited;
  const text = wrk.lines.join('\n');
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(text)?.[1];
  if (rate === undefined || /Non-2xx/.test(text)) throw new Error(`wrk failed:\n${text}`);
  return { requestsPerSecond: Number(rate), p99: /99%\s+(\S+)/.exec(text)?.[1] ?? '?' };
}

await using postgres = await startTunedPostgres();
await using mosquitto = await startMosquitto();
await fill(postgres.url);
await using willow = await startWillow({
  DATABASE_URL: postgres.url,
  MQTT_URL: mosquitto.url,
  API_KEY: apiKey,
  LOG_LEVEL: 'info',
});
await willow.logged('link.up');
const keys = await makeKeys(willow.http);
const shownTo = { headers: { authorization: `Bearer ${apiKey}` } };
const body = await (await fetch(`${willow.http}/users/user-4711/presence`, shownTo)).text();
await using bare = await startChild(process.execPath, ['test/bench/bare-server.ts', body]);
const bareHttp = await bare.line((line) => line.startsWith('http') && line, 'its address');

const rates = { bare: [] as number[], willow: [] as number[] };
const ratios: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  const plain = await measure(bareHttp, keys);
  const real = await measure(willow.http, keys);
  rates.bare.push(plain.requestsPerSecond);
  rates.willow.push(real.requestsPerSecond);
  ratios.push(real.requestsPerSecond / plain.requestsPerSecond);
  process.stdout.write(
    `<!-- round ${round + 1}: bare ${plain.requestsPerSecond} (p99 ${plain.p99}), willow ${real.requestsPerSecond} (p99 ${real.p99}) -->\n`,
  );
}
process.stdout.write('| route | requests/s (min / median / max) |\n|---|---|\n');
process.stdout.write(`| bare | ${shown(spreadOf(rates.bare))} |\n| presence | ${shown(spreadOf(rates.willow))} |\n`);
process.stdout.write(`| ratio | ${shown(spreadOf(ratios), 2)} |\n`);
