// What the benches of reads play on: one tuned PostgreSQL with a million users who are online and 100,000 who are not, a Mosquitto, and as
// many Willows as they need, with the callers' keys and what the processes take.

import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import pg from 'pg';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { startTunedPostgres } from './tuned-postgres.ts';

export const usersOnline = 1_000_000;
export const usersGone = 100_000;
const apiKey = 'bench-key-0123456789abcdef';
export const authorization = { authorization: `Bearer ${apiKey}` };

export type ReadStage = AsyncDisposable & {
  readonly mosquitto: Mosquitto;
  readonly pool: pg.Pool;
  /** One that is connected to the broker, and whose memory is its own. */
  readonly startWillow: () => Promise<Willow>;
};

export async function openReadStage(): Promise<ReadStage> {
  await using opening = new AsyncDisposableStack();
  const postgres = opening.use(await startTunedPostgres());
  const mosquitto = opening.use(await startMosquitto({ inflightMax: 1_000 }));
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
  opening.defer(() => pool.end());
  await migrate(pool, await loadMigrations(new URL('../../prisma/migrations/', import.meta.url)));
  await fill(pool);
  const opened = opening.move();
  return {
    mosquitto,
    pool,
    startWillow: async () => {
      const environment = { DATABASE_URL: postgres.url, MQTT_URL: mosquitto.url, API_KEY: apiKey, LOG_LEVEL: 'info' };
      const willow = await startWillow(environment);
      await willow.logged('link.up');
      return willow;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function fill(pool: pg.Pool): Promise<void> {
  const columns = 'user_id, revision, live_revision, sequence, since, last_seen_at, last_event_at';
  const session = `'phone', 'online', 1700000000000, 'client-' || n, '{"os":"android","app":"4.2.0"}'::jsonb, now(), now()`;
  await pool.query(
    `insert into users (${columns}) select 'user-' || n, 1, 1, 2, now(), now(), now() from generate_series(1, $1::int) n`,
    [usersOnline],
  );
  await pool.query(
    `insert into sessions (user_id, session_id, status, epoch, client_id, device, started_at, last_seen_at)
     select 'user-' || n, ${session} from generate_series(1, $1::int) n`,
    [usersOnline],
  );
  await pool.query(
    `insert into users (${columns}) select 'gone-' || n, 1, -1, 4, now(), now(), now() from generate_series(1, $1::int) n`,
    [usersGone],
  );
  await pool.query(
    `insert into sessions (user_id, session_id, status, epoch, client_id, device, started_at, last_seen_at, ended_at, reason)
     select 'gone-' || n, ${session.replace("'online'", "'ended'")}, now(), 'will' from generate_series(1, $1::int) n`,
    [usersGone],
  );
  await pool.query('vacuum analyze');
}

/** Callers enough that none of them asks for more than a caller may. */
export async function makeKeys(http: string, count: number): Promise<readonly string[]> {
  const headers = { ...authorization, 'content-type': 'application/json' };
  const body = JSON.stringify({ name: 'bench', scopes: ['presence:read'] });
  return Promise.all(
    Array.from({ length: count }, async () => {
      const response = await fetch(`${http}/keys`, { method: 'POST', headers, body });
      return ((await response.json()) as { key: string }).key;
    }),
  );
}

/** Of one process, as the kernel counts it: 100 ticks a second. */
export function cpuMsOf(pid: number): number {
  const [, fields = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  const [userTicks, systemTicks] = fields.split(' ').slice(11, 13).map(Number);
  return ((userTicks ?? Number.NaN) + (systemTicks ?? Number.NaN)) * 10;
}

/** `peak`: the most that the process ever held. */
export function memoryMiBOf(pid: number, what: 'now' | 'peak'): number {
  const name = what === 'peak' ? 'VmHWM' : 'VmRSS';
  const match = new RegExp(`${name}:\\s+(\\d+) kB`, 'u').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1]) / 1_024;
}

export function machineLoad(): string {
  return `load ${loadavg()[0]?.toFixed(2)}`;
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
