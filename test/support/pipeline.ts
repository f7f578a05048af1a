// The listening half of Willow in this process, between a scripted broker and a real database with a witness in front of it: for tests of what
// happens between two batches, which no test outside the process could time.

import type pg from 'pg';
import { type AppSettings, type Base, createListener, runIngest } from '../../src/app-ingest.ts';
import { decide } from '../../src/core/decide.ts';
import { Metrics } from '../../src/metrics.ts';
import { Health } from '../../src/runtime/health.ts';
import { createLogger } from '../../src/runtime/logger.ts';
import { parseSettings } from '../../src/settings.ts';
import type { Decide } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { CommitWitness, type Interference } from './commit-witness.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { type ScriptedBroker, startScriptedBroker } from './scripted-broker.ts';
import { until } from './until.ts';

export type Pipeline = AsyncDisposable & {
  readonly broker: ScriptedBroker;
  readonly witness: CommitWitness;
  /** Without the witness: for the test's own questions, and as Willow opens it. */
  readonly database: TestDatabase;
  readonly pool: pg.Pool;
  /** Not seen by the witness. */
  readonly decide: Decide;
  /** Seen by the witness. */
  readonly watched: Decide;
  /** `user_id type` of each event, in order. */
  readonly log: () => Promise<readonly string[]>;
  readonly settled: () => Promise<void>;
  /** Resolves when Willow has read what the broker sent until now, or a little more. */
  readonly heard: () => Promise<void>;
  readonly stop: () => Promise<void>;
  readonly restart: () => Promise<void>;
};

const roomy = { window: 1_000, packetIdsMax: 2_000 };

export async function openPipeline(
  options: Interference & {
    readonly settings: Readonly<Record<string, string>>;
    readonly broker?: { readonly window: number; readonly packetIdsMax: number };
  },
): Promise<Pipeline> {
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await createDatabase());
  const onError = () => undefined;
  const pool = openPool(database.url, { connectionsMax: 6, statementMsMax: 15_000, onError });
  opened.defer(() => pool.end());
  const witness = new CommitWitness(pool, options);
  const onAcknowledged = (n: number) => witness.hearAcknowledged(n);
  const broker = opened.use(await startScriptedBroker({ ...(options.broker ?? roomy), onAcknowledged }));
  const settings = settingsOf(database.url, broker.url, options.settings);
  const pure: Decide = (user, signal, moment) => decide(user, signal, moment, rulesOf(settings));
  const watched = witness.watch(pure);
  const start = () => run(settings, witness, watched);
  let stop = start();
  opened.defer(() => stop());
  await until('Willow listens', broker.isListenedTo);
  const rest = opened.move();
  return {
    broker,
    witness,
    database,
    pool,
    decide: pure,
    watched,
    log: () => logOf(database),
    settled: async () => {
      await until('the broker has every PUBACK', () => broker.unsettled() === 0);
    },
    heard: () => heardAfter(database, Date.now()),
    stop: () => stop(),
    restart: async () => {
      await stop();
      stop = start();
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

function settingsOf(databaseUrl: string, brokerUrl: string, wished: Readonly<Record<string, string>>): AppSettings {
  const settings = parseSettings(
    { MQTT_URL: brokerUrl, DATABASE_URL: databaseUrl, ROLES: 'ingest,api', ...wished },
    () => '',
  );
  return { ...settings, MQTT_URL: brokerUrl, DATABASE_URL: databaseUrl };
}

function rulesOf(settings: AppSettings) {
  return {
    graceMs: settings.GRACE_MS,
    repeatWindowMs: settings.REPEAT_WINDOW_MS,
    takeoverWindowMs: settings.TAKEOVER_WINDOW_MS,
    leaseMs: settings.LEASE_MS,
  };
}

/** Until the returned function is called, which resolves when all has ended. */
function run(settings: AppSettings, { pool }: CommitWitness, watched: Decide): () => Promise<void> {
  const nowMs = Date.now;
  const base: Base = {
    settings,
    pool,
    scope: { clientId: settings.MQTT_CLIENT_ID, sharedGroup: null },
    logger: createLogger({ level: 'silent', isPretty: false }),
    nowMs,
    health: new Health(nowMs),
    tracing: null,
    metrics: new Metrics(() => ({ isLinkUp: true, isLeaseHeld: true, pendingMs: 0 })),
    decide: watched,
    wire: {
      topics: { login: settings.LOGIN_TOPIC, logout: settings.LOGOUT_TOPIC },
      pointers: {
        userId: settings.PAYLOAD_USER_ID,
        sessionId: settings.PAYLOAD_SESSION_ID,
        epoch: settings.PAYLOAD_EPOCH,
      },
      tickets: { isRequired: false, verify: () => null },
    },
  };
  const stopping = new AbortController();
  const running = runIngest(base, createListener(base), stopping.signal);
  return async () => {
    stopping.abort();
    await running;
  };
}

async function logOf({ pool }: TestDatabase): Promise<readonly string[]> {
  const { rows } = await pool.query<{ user_id: string; type: string }>(
    'select user_id, type from events order by position',
  );
  return rows.map(({ user_id, type }) => `${user_id} ${type}`);
}

/** The lease is renewed every second, with the time of the last packet. */
async function heardAfter({ pool }: TestDatabase, sinceMs: number): Promise<void> {
  await until('Willow has heard the broker', async () => {
    const { rows } = await pool.query('select from links where heard_at > to_timestamp($1::float8 / 1000)', [sinceMs]);
    return rows.length > 0;
  });
}
