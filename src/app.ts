// The composition root: settings in, a running service out. With app-ingest.ts the only file that imports from every folder; it
// plugs them together and decides nothing itself. Whoever disposes of it gets back control when the batch in hand is settled and everything is closed.

import type pg from 'pg';
import { Hints } from './app-hints.ts';
import { type AppSettings, type Base, createListener, runIngest } from './app-ingest.ts';
import { actorOf, createAuditPort, createKeysPort, runKeyChores } from './app-keys.ts';
import { type LanesParts, runLanes, sendTest } from './app-lanes.ts';
import { createReadPorts } from './app-reads.ts';
import { retentionPool, runRetention } from './app-retention.ts';
import { createPreparePort, kick, runSessionChores } from './app-sessions.ts';
import { createStreams, runStreams, type StreamParts } from './app-streams.ts';
import { openTickets, type Tickets } from './app-tickets.ts';
import { adoptNewestKey, createWebhooksPort } from './app-webhooks.ts';
import { decide } from './core/decide.ts';
import type { Rules } from './core/rules.ts';
import type { Wire } from './core/signal.ts';
import type { TicketRules } from './core/ticket.ts';
import type { HttpServer } from './http/instance.ts';
import { connectionsMax } from './http/limits.ts';
import { createHttpServer, type HttpDeps, listen } from './http/server.ts';
import { streamsMaxOf } from './http/streams.ts';
import type { Listener } from './ingest/listener.ts';
import { Metrics } from './metrics.ts';
import { Health } from './runtime/health.ts';
import { invariant } from './runtime/invariant.ts';
import type { Logger } from './runtime/logger.ts';
import { openFilesMax } from './runtime/open-files.ts';
import { createSealing } from './runtime/sealing.ts';
import { StartError } from './runtime/start-error.ts';
import { version } from './runtime/version.ts';
import type { Settings } from './settings.ts';
import { ask, ConflictError, DatabaseAwayError, openPool } from './store/database.ts';
import { readDeployment } from './store/deployment.ts';
import { eraseUser } from './store/erase.ts';
import { listenForHints } from './store/hints.ts';
import { KeyRing } from './store/key-ring.ts';
import { loadMigrations, migrate } from './store/migrate.ts';
import { createPresenceReader } from './store/presence-reader.ts';
import { getQuarantined, listQuarantine, removeQuarantined } from './store/quarantine.ts';
import type { Tracing } from './tracing/tracing.ts';
import { createSender } from './webhooks/send.ts';
import { parseNetworks, registrationProblem, type TargetRules } from './webhooks/target-guard.ts';

export type App = AsyncDisposable & { readonly httpUrl: string };

/** Whoever asks over HTTP, however often, does not keep the lease from being renewed, and neither do webhooks or retention: four pools. */
const ingestPool = { connectionsMax: 4, statementMsMax: 15_000 };
/** Four for the most read call, three for dear reads, one for counts, four for the log of the streams: three are left for keys, writes and /readyz. */
const apiPool = { connectionsMax: 15, statementMsMax: 5_000 };
const lanesPool = { connectionsMax: 4, statementMsMax: 15_000 };
/** Requests under way are answered; then connections are closed, those too on which a request never ends. */
const httpCloseMsMax = 1_000;

export async function startApp(settings: AppSettings, logger: Logger, nowMs: () => number): Promise<App> {
  await using opened = new AsyncDisposableStack();
  const onError = (error: Error) => logger.warn({ event: 'database.connection-lost', err: error });
  const pool = openPool(settings.DATABASE_URL, { ...ingestPool, onError });
  opened.defer(() => pool.end());
  const api = openPool(settings.DATABASE_URL, { ...apiPool, onError });
  opened.defer(() => api.end());
  const retention = openPool(settings.DATABASE_URL, { ...retentionPool, onError });
  opened.defer(() => retention.end());
  await prepareDatabase(pool, settings.DATABASE_URL, logger);

  const scope = { clientId: settings.MQTT_CLIENT_ID, sharedGroup: settings.MQTT_SHARED_GROUP };
  const rules = rulesOf(settings);
  let listener: Listener | null = null;
  const metrics = new Metrics(() => ({
    isLinkUp: listener?.state === 'listening',
    isLeaseHeld: listener?.state === 'listening' || listener?.state === 'connecting',
    pendingMs: nowMs() - (listener?.oldestPendingMs() ?? nowMs()),
  }));
  metrics.database.watch('ingest', pool);
  metrics.database.watch('api', api);
  metrics.database.watch('retention', retention);
  const health = new Health(nowMs);
  metrics.watchHealth(async () => (await health.ready()).checks);
  health.add('database', async () => ({ ok: (await ask(api, { text: 'select 1' })).rowCount === 1 }));
  const tickets = await openTickets(pool, settings, logger);
  const cursorKey = await readDeployment(pool);
  const tracing = await openTraces(settings, { key: cursorKey, metrics, logger });
  if (tracing !== null) opened.use(tracing);
  const base: Base = {
    settings,
    pool,
    scope,
    logger,
    nowMs,
    health,
    metrics,
    hints: new Hints(),
    decide: (user, signal, moment) => decide(user, signal, moment, rules),
    wire: wireOf(settings, tickets.rules),
    tracing,
  };

  const lanes = openLanes(base, opened);
  if (lanes !== null) metrics.database.watch('webhooks', lanes.pool);
  if (lanes !== null) await adoptNewestKey(lanes.pool, lanes.sealing, logger);
  const ring = new KeyRing(api, { nowMs, monotonicMs: () => performance.now() });
  const presence = createPresenceReader(api, scope);
  const httpConnectionsMax = connectionsMax(openFilesMax());
  const limits = streamsMaxOf(httpConnectionsMax);
  const streams = createStreams(base, { pool: api, presence, findKey: (id) => ring.find(id), limits });
  const http = createHttp(base, { api, lanes, ring, tickets, cursorKey, presence, streams, httpConnectionsMax });
  opened.defer(() => closeHttp(http));
  const httpUrl = await listen(http, { host: settings.HTTP_HOST, port: settings.HTTP_PORT });
  const listening = settings.ROLES.includes('ingest') ? createListener(base) : null;
  listener = listening;
  runLoops(base, { api, retention, lanes, ring, streams, listening }, opened);
  const stack = opened.move();
  return { httpUrl, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

type Looped = Pick<HttpParts, 'api' | 'lanes' | 'ring' | 'streams'> & {
  readonly retention: pg.Pool;
  readonly listening: Listener | null;
};

function runLoops(
  base: Base,
  { api, retention, lanes, ring, streams, listening }: Looped,
  opened: AsyncDisposableStack,
): void {
  const { settings, logger } = base;
  const [isApi, isWebhooks] = [settings.ROLES.includes('api'), settings.ROLES.includes('webhooks')];
  run(opened, (signal) => runKeyChores(base, { pool: api, ring }, signal));
  run(opened, (signal) => runSessionChores(base, api, signal));
  run(opened, (signal) => runRetention(base, retention, signal));
  if (listening !== null) run(opened, (signal) => runIngest(base, listening, signal));
  if (isWebhooks && lanes !== null) run(opened, (signal) => runLanes(base, lanes, signal));
  if (isWebhooks || isApi) {
    run(opened, (signal) => listenForHints(settings.DATABASE_URL, base.hints.handlers, { signal, logger }));
  }
  // Last, so that they end first.
  if (isApi) run(opened, (signal) => runStreams(base, streams, signal));
}

/** From here on until what is opened is closed. */
function run(opened: AsyncDisposableStack, work: (signal: AbortSignal) => Promise<void>): void {
  const stopping = new AbortController();
  const running = work(stopping.signal);
  opened.defer(async () => {
    stopping.abort();
    await running;
  });
}

/** Null where nothing is traced; then the libraries for it are not even loaded. */
async function openTraces(
  settings: Settings,
  { key, metrics, logger }: { readonly key: string; readonly metrics: Metrics; readonly logger: Logger },
): Promise<Tracing | null> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_HEADERS: headers } = settings;
  if (url === null) return null;
  const { openTracing } = await import('./tracing/tracing.ts');
  const { OTEL_SERVICE_NAME: serviceName, OTEL_TRACES_SAMPLER_ARG: ratio } = settings;
  return openTracing({
    url,
    headers: headers ?? {},
    serviceName,
    ratio,
    version,
    key,
    logger,
    onSpans: (outcome, spans) => metrics.traces.spans.inc({ outcome }, spans),
  });
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

function wireOf(settings: Settings, tickets: TicketRules): Wire {
  return {
    topics: { login: settings.LOGIN_TOPIC, logout: settings.LOGOUT_TOPIC },
    pointers: {
      userId: settings.PAYLOAD_USER_ID,
      sessionId: settings.PAYLOAD_SESSION_ID,
      epoch: settings.PAYLOAD_EPOCH,
    },
    tickets,
  };
}

async function closeHttp(http: HttpServer): Promise<void> {
  const timer = setTimeout(() => http.server.closeAllConnections(), httpCloseMsMax);
  await http.close();
  clearTimeout(timer);
}

/** Null without a key for the secrets: then nothing is sent from here. */
function openLanes({ settings, logger }: Base, opened: AsyncDisposableStack): LanesParts | null {
  if (settings.SECRET_KEY === null) return null;
  const onError = (error: Error) => logger.warn({ event: 'database.connection-lost', err: error });
  const pool = openPool(settings.DATABASE_URL, { ...lanesPool, onError });
  opened.defer(() => pool.end());
  const sender = opened.use(createSender({ rules: targetRulesOf(settings) }));
  return { pool, sealing: createSealing(settings.SECRET_KEY), sender };
}

function targetRulesOf({ WEBHOOK_ALLOW_HTTP, WEBHOOK_ALLOW_NETWORKS }: Settings): TargetRules {
  const parsed = parseNetworks((WEBHOOK_ALLOW_NETWORKS ?? []).join(','));
  invariant(parsed.kind === 'networks', 'the settings have been checked');
  return { allowHttp: WEBHOOK_ALLOW_HTTP, allowNetworks: parsed.networks };
}

type HttpParts = {
  readonly api: pg.Pool;
  readonly lanes: LanesParts | null;
  readonly ring: KeyRing;
  readonly tickets: Tickets;
  readonly cursorKey: string;
  readonly presence: HttpDeps['presence'];
  readonly streams: StreamParts;
  readonly httpConnectionsMax: number;
};

function createHttp(base: Base, parts: HttpParts): HttpServer {
  const { api: pool, lanes, ring, tickets, cursorKey, presence, streams, httpConnectionsMax } = parts;
  const { settings, logger, health, metrics } = base;
  const targetRules = targetRulesOf(settings);
  return createHttpServer({
    apiKey: settings.API_KEY,
    keys: createKeysPort(pool, ring),
    audit: createAuditPort(pool),
    allowedOrigins: settings.CORS_ORIGINS ?? [],
    limits: { connectionsMax: httpConnectionsMax },
    onRefused: (why) => metrics.http.refused.inc({ why }),
    tallyOf: (method, route) => metrics.http.tallyOf(method, route),
    hasApi: settings.ROLES.includes('api'),
    cursorKey,
    logger,
    isUnavailable: (error) => error instanceof DatabaseAwayError || error instanceof ConflictError,
    presence,
    ...createReadPorts(pool, base),
    streams,
    webhooks: createWebhooksPort(pool, {
      sealing: lanes?.sealing ?? null,
      targetProblem: (url) => registrationProblem(url, targetRules),
      sendTest: lanes === null ? null : (id) => sendTest(base, lanes, id),
    }),
    kick: (userId, sessionId, caller) => kick(base, pool, userId, sessionId, caller),
    prepared: createPreparePort(base, pool, tickets),
    users: { erase: (userId, caller) => eraseUser(pool, userId, actorOf(caller)) },
    quarantine: {
      list: (page) => listQuarantine(pool, page),
      get: (id) => getQuarantined(pool, id),
      remove: (id, caller) => removeQuarantined(pool, id, actorOf(caller)),
    },
    ready: () => health.ready(),
    metrics: {
      gather: () => metrics.gather(),
      render: async () => ({ contentType: metrics.registry.contentType, body: await metrics.registry.metrics() }),
    },
  });
}
