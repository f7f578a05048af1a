// The composition root: settings in, a running service out. The only file that imports from every folder; it plugs them together
// and decides nothing itself. Whoever disposes of it gets back control when the batch in hand is settled and everything is closed.

import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { decide, type Rules } from './core/decide.ts';
import type { SessionId, UserId } from './core/ids.ts';
import type { Wire } from './core/signal.ts';
import { runSweeper } from './deadlines/sweeper.ts';
import { createHttpServer, listen } from './http/server.ts';
import { ingest, type Settled, type SignalEntry } from './ingest/ingest.ts';
import { Listener, type Listening } from './ingest/listener.ts';
import type { Message } from './ingest/message.ts';
import { Metrics } from './metrics.ts';
import { Health } from './runtime/health.ts';
import type { Logger } from './runtime/logger.ts';
import { loop } from './runtime/loop.ts';
import { StartError } from './runtime/start-error.ts';
import type { Settings } from './settings.ts';
import { type Committed, commit, type Decide, type Entry } from './store/commit.ts';
import { ask, DatabaseAwayError, DataRefusedError, FencedError, openPool } from './store/database.ts';
import { findDueUsers } from './store/deadlines.ts';
import { acquireLease, type LinkScope, recordNewBrokerSession, releaseLease, renewLease } from './store/links.ts';
import { loadMigrations, migrate } from './store/migrate.ts';
import { addToQuarantine, trimQuarantine } from './store/quarantine.ts';
import { createPresenceReader, listEventsOfUser, listSessions } from './store/reads.ts';
import type { Fence } from './store/write.ts';

/** The servers are there: started by somebody else, or embedded and started before. */
export type AppSettings = Settings & { readonly MQTT_URL: string; readonly DATABASE_URL: string };

export type App = AsyncDisposable & { readonly httpUrl: string };

/** Everything that the parts share. */
type Base = {
  readonly settings: AppSettings;
  readonly pool: pg.Pool;
  readonly scope: LinkScope;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly decide: Decide;
};

const poolConnectionsMax = 10;
/** A loop that has not succeeded for so long is not working. */
const loopSilenceMsMax = 15_000;
const loggedLoginsMax = 5;
const trimEveryMs = 1_000;
const trimBackOff = { firstMs: 1_000, lastMs: 30_000 };
/** How long the broker keeps what it queued for us: longer than a weekend. */
const sessionExpirySeconds = 7 * 86_400;
/** In a group the others take over what a member leaves. */
const sharedSessionExpirySeconds = 60;

export async function startApp(settings: AppSettings, logger: Logger, nowMs: () => number): Promise<App> {
  await using opened = new AsyncDisposableStack();
  const pool = openPool(settings.DATABASE_URL, {
    connectionsMax: poolConnectionsMax,
    onError: (error) => logger.warn({ event: 'database.connection-lost', err: error }),
  });
  opened.defer(() => pool.end());
  await prepareDatabase(pool, settings.DATABASE_URL, logger);

  const scope = { clientId: settings.MQTT_CLIENT_ID, sharedGroup: settings.MQTT_SHARED_GROUP };
  const rules = rulesOf(settings);
  let listener: Listener | null = null;
  const metrics = new Metrics(() => ({
    isLinkUp: listener?.state === 'listening',
    isLeaseHeld: listener?.state === 'listening' || listener?.state === 'connecting',
  }));
  const health = new Health(nowMs);
  health.add('database', async () => ({ ok: (await ask(pool, { text: 'select 1' })).rowCount === 1 }));
  const base: Base = {
    settings,
    pool,
    scope,
    logger,
    nowMs,
    health,
    metrics,
    decide: (user, signal, moment) => decide(user, signal, moment, rules),
  };

  const http = createHttp(base);
  opened.defer(() => http.close());
  const httpUrl = await listen(http, { host: settings.HTTP_HOST, port: settings.HTTP_PORT });
  if (settings.ROLES.includes('ingest')) {
    listener = createListener(base);
    const stopping = new AbortController();
    const running = runIngest(base, listener, stopping.signal);
    opened.defer(async () => {
      stopping.abort();
      await running;
    });
  }
  const stack = opened.move();
  return { httpUrl, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function prepareDatabase(pool: pg.Pool, url: string, logger: Logger): Promise<void> {
  const migrations = await loadMigrations(new URL('../prisma/migrations/', import.meta.url));
  const { applied, unknown } = await migrate(pool, migrations).catch((cause: unknown) => {
    if (cause instanceof StartError) throw cause;
    const why = cause instanceof Error ? cause.message || cause.name : String(cause);
    throw new StartError(`The database at ${new URL(url).host} cannot be used: ${why}.`, { cause });
  });
  if (applied.length > 0) logger.info({ event: 'database.migrated', migrations: applied });
  if (unknown.length > 0) logger.warn({ event: 'database.newer', migrations: unknown });
}

function rulesOf(settings: Settings): Rules {
  return {
    graceMs: settings.GRACE_MS,
    repeatWindowMs: settings.REPEAT_WINDOW_MS,
    takeoverWindowMs: settings.TAKEOVER_WINDOW_MS,
    leaseMs: settings.LEASE_MS,
  };
}

function createHttp(base: Base) {
  const { settings, pool, scope, logger, health, metrics } = base;
  return createHttpServer({
    apiKey: settings.API_KEY,
    hasApi: settings.ROLES.includes('api'),
    logger,
    isUnavailable: (error) => error instanceof DatabaseAwayError,
    presence: createPresenceReader(pool, scope),
    listSessions: (userId, page) => listSessions(pool, userId, page),
    eventsOfUser: (userId, page) => listEventsOfUser(pool, userId, page),
    kick: (userId, sessionId) => kick(base, userId, sessionId),
    ready: () => health.ready(),
    metrics: async () => ({ contentType: metrics.registry.contentType, body: await metrics.registry.metrics() }),
  });
}

async function kick(base: Base, userId: UserId, sessionId: SessionId | null): Promise<'done' | 'unknown-session'> {
  const nowMs = base.nowMs();
  let isKnown = false;
  const decideKick: Decide = (user, signal, moment) => {
    isKnown = sessionId === null || user.sessions.has(sessionId);
    return base.decide(user, signal, moment);
  };
  // Whether a birth that saves a session is waiting unread is not known here: deadlines are left to those who listen (I6).
  const entry = { signal: { kind: 'kick', userId, sessionId }, nowMs, lapseUntilMs: null } as const;
  count(base, await commit(base.pool, [{ ...entry, receipt: null, mayBeCommitted: false }], decideKick, null));
  return isKnown ? 'done' : 'unknown-session';
}

function count({ metrics }: Base, { events }: Committed): void {
  for (const { type } of events) metrics.events.inc({ type });
}

async function timedCommit(base: Base, entries: readonly Entry[], fence: Fence): Promise<Committed> {
  const stopTimer = base.metrics.commit.startTimer();
  const committed = await commit(base.pool, entries, base.decide, fence);
  stopTimer();
  count(base, committed);
  return committed;
}

// ── ingest ───────────────────────────────────────────────────────────────────────────────────────────────────────────

function createListener(base: Base): Listener {
  const { settings, pool, scope, logger, nowMs } = base;
  const wire: Wire = {
    topics: { login: settings.LOGIN_TOPIC, logout: settings.LOGOUT_TOPIC },
    pointers: {
      userId: settings.PAYLOAD_USER_ID,
      sessionId: settings.PAYLOAD_SESSION_ID,
      epoch: settings.PAYLOAD_EPOCH,
    },
  };
  const prefix = scope.sharedGroup === null ? '' : `$share/${scope.sharedGroup}/`;
  const holder = randomUUID();
  const listener = new Listener({
    acquireLease: (leaseMs) => acquireLease(pool, { ...scope, holder, leaseMs }),
    renewLease: (lease, link) => renewLease(pool, lease, link),
    releaseLease: (lease) => releaseLease(pool, lease),
    recordNewBrokerSession: (lease, atMs) => recordNewBrokerSession(pool, lease, atMs),
    settle: (batch, listening) =>
      settle(base, wire, batch, listening, (receivedAtMs) => listener.lapseUntilMs(receivedAtMs)),
    isFinal: (error) => error instanceof FencedError || error instanceof DataRefusedError,
    connection: {
      url: settings.MQTT_URL,
      clientId: settings.MQTT_CLIENT_ID,
      username: settings.MQTT_USERNAME,
      password: settings.MQTT_PASSWORD,
      filters: [`${prefix}${settings.LOGIN_TOPIC}/#`, `${prefix}${settings.LOGOUT_TOPIC}/#`],
      sessionExpirySeconds: scope.sharedGroup === null ? sessionExpirySeconds : sharedSessionExpirySeconds,
      nowMs,
    },
    graceMs: settings.GRACE_MS,
    logger,
  });
  return listener;
}

async function settle(
  base: Base,
  wire: Wire,
  batch: readonly Message[],
  { lease, connection, persist }: Listening,
  lapseUntilMs: (receivedAtMs: number) => number | null,
): Promise<void> {
  const entryOf = (entry: SignalEntry): Entry => ({ ...entry, lapseUntilMs: lapseUntilMs(entry.nowMs) });
  const settled = await ingest(batch, {
    wire,
    commit: async (entries) => {
      const fence = { ...lease, heardAtMs: connection.heardAtMs() };
      return (await timedCommit(base, entries.map(entryOf), fence)).outcomes;
    },
    quarantine: (entries) =>
      addToQuarantine(
        base.pool,
        entries.map(({ message, reason, detail }) => ({ ...message, reason, detail })),
      ),
    isRefusedForItsData: (error) => error instanceof DataRefusedError,
    persist,
    acknowledge: connection.acknowledge,
  });
  const settleMs = base.nowMs() - (batch[0]?.receivedAtMs ?? base.nowMs());
  base.metrics.settled(settled, settleMs);
  logBatch(base.logger, settled, settleMs);
}

function logBatch(logger: Logger, settled: readonly Settled[], settleMs: number): void {
  const quarantined = settled.filter(({ kind }) => kind === 'quarantined').length;
  // A device whose clock went back is locked out until its session is deleted: somebody should know which.
  const stale = settled.flatMap((one) => (one.kind === 'login' && one.outcome === 'stale' ? [one.signal] : []));
  const staleLogins = stale
    .slice(0, loggedLoginsMax)
    .map(({ userId, sessionId, epoch }) => ({ userId, sessionId, epoch }));
  const level = stale.length > 0 || quarantined > 0 ? 'warn' : 'debug';
  const staleFields = stale.length > 0 ? { stale: stale.length, staleLogins } : {};
  logger[level]({ event: 'batch.settled', messages: settled.length, quarantined, ...staleFields, settleMs });
}

async function runIngest(base: Base, listener: Listener, signal: AbortSignal): Promise<void> {
  const { pool, logger, health, settings, metrics } = base;
  health.add('link', () => ({
    ok: listener.state === 'listening' || listener.state === 'standing-by',
    state: listener.state,
  }));
  const trim = async (): Promise<number> => {
    metrics.trimmed.inc(await trimQuarantine(pool, settings.QUARANTINE_ROWS_MAX));
    return trimEveryMs;
  };
  const sweeping = {
    nowMs: base.nowMs,
    horizon: (nowMs: number) => listener.lapseHorizon(nowMs),
    probe: () => listener.probe(),
    findDue: (untilMs: number, usersMax: number) => findDueUsers(pool, untilMs, usersMax),
    commit: async (
      entries: readonly Pick<Entry, 'signal' | 'nowMs' | 'lapseUntilMs'>[],
      { lease }: { lease: Omit<Fence, 'heardAtMs'> },
    ) => {
      const lapses = entries.map((entry) => ({ ...entry, receipt: null, mayBeCommitted: false }));
      await timedCommit(base, lapses, { ...lease, heardAtMs: null });
    },
    logger,
  };
  await Promise.all([
    listener.run(signal, health.watchLoop('listener', loopSilenceMsMax)),
    runSweeper(sweeping, signal, health.watchLoop('deadlines', loopSilenceMsMax)),
    loop(trim, {
      name: 'quarantine',
      signal,
      logger,
      backOff: trimBackOff,
      onSuccess: health.watchLoop('quarantine', 60_000),
    }),
  ]);
}
