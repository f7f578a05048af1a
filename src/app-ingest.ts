// The half of the composition that listens: the broker's messages, the deadlines and the quarantine, plugged into the database.

import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { settlerOf, type Turn } from './app-settler.ts';
import { BatchTrace } from './app-tracing.ts';
import { transportOf } from './broker-settings.ts';
import type { Wire } from './core/signal.ts';
import { type LapseEntry, runSweeper } from './deadlines/sweeper.ts';
import { runHeir } from './ingest/heir.ts';
import { ingest, type Settled, type SignalEntry } from './ingest/ingest.ts';
import type { Lease } from './ingest/lease.ts';
import type { LinkDeps, Listening } from './ingest/link.ts';
import { Listener } from './ingest/listener.ts';
import type { Message } from './ingest/message.ts';
import type { Metrics } from './metrics.ts';
import type { Health } from './runtime/health.ts';
import { InvariantError } from './runtime/invariant.ts';
import type { Logger } from './runtime/logger.ts';
import { loop } from './runtime/loop.ts';
import type { Settings } from './settings.ts';
import { type Committed, commit, type Decide, type Entry, GivenUpError, type Order } from './store/commit.ts';
import { DataRefusedError, FencedError } from './store/database.ts';
import { findDueUsers } from './store/deadlines.ts';
import {
  acquireLease,
  inheritLease,
  type LinkScope,
  othersCaughtUpAtMs,
  recordNewBrokerSession,
  recordWoundUp,
  releaseLease,
  renewLease,
} from './store/links.ts';
import { addToQuarantine, trimQuarantine } from './store/quarantine.ts';
import type { Fence } from './store/write.ts';
import type { Tracing } from './tracing/tracing.ts';

/** The servers are there: started by somebody else, or embedded and started before. */
export type AppSettings = Settings & { readonly MQTT_URL: string; readonly DATABASE_URL: string };

/** Everything that the parts share. */
export type Base = {
  readonly settings: AppSettings;
  readonly pool: pg.Pool;
  readonly scope: LinkScope;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly decide: Decide;
  readonly wire: Wire;
  /** Null: nothing is traced. */
  readonly tracing: Tracing | null;
};

/** A loop that has not succeeded for so long is not working. */
const loopSilenceMsMax = 15_000;
const loggedLoginsMax = 5;
const trimEveryMs = 1_000;
const trimBackOff = { firstMs: 1_000, lastMs: 30_000 };
/** How long the broker keeps what it queued for us: longer than a weekend. */
const sessionExpirySeconds = 7 * 86_400;

export function countEvents({ metrics }: Base, { events, conflicts }: Committed): void {
  metrics.ingest.conflicts.inc(conflicts);
  for (const { type } of events) metrics.ingest.events.inc({ type });
}

async function timedCommit(
  base: Base,
  entries: readonly Entry[],
  fence: Fence,
  order: Order | null = null,
): Promise<Committed> {
  const stopTimer = base.metrics.ingest.commit.startTimer();
  const committed = await commit(base.pool, entries, base.decide, fence, order);
  stopTimer();
  countEvents(base, committed);
  return committed;
}

/** For one batch: what it decides is what its trace will tell. */
export function tracedOf<B extends Pick<Base, 'tracing' | 'decide' | 'nowMs' | 'settings'>>(
  base: B,
): { readonly base: B; readonly trace: BatchTrace | null } {
  if (base.tracing === null) return { base, trace: null };
  const about = { graceMs: base.settings.GRACE_MS, nowMs: base.nowMs() };
  const trace = new BatchTrace(base.tracing, base.decide, about);
  return { base: { ...base, decide: trace.decide }, trace };
}

export function createListener(base: Base): Listener {
  const { settings, pool, scope, logger, nowMs } = base;
  const holder = randomUUID();
  const listener: Listener = new Listener({
    acquireLease: (leaseMs) => acquireLease(pool, { ...scope, holder, leaseMs }),
    link: linkOf(base, settings.MQTT_CLIENT_ID, (receivedAtMs) => listener.lapseUntilMs(receivedAtMs)),
    graceMs: settings.GRACE_MS,
    nowMs,
    logger,
  });
  return listener;
}

/** Up to when deadlines may lapse before a signal that was received then and finds them overdue; null for none. */
type LapseUntil = (receivedAtMs: number) => number | null;

function linkOf(base: Base, clientId: string, lapseUntilMs: LapseUntil): LinkDeps {
  const { settings, pool, scope, logger, nowMs, metrics } = base;
  const prefix = scope.sharedGroup === null ? '' : `$share/${scope.sharedGroup}/`;
  return {
    renewLease: (lease, link) => renewLease(pool, lease, link),
    releaseLease: (lease, isInDoubt) => releaseLease(pool, lease, isInDoubt),
    recordNewBrokerSession: async (lease, atMs) => {
      if (await recordNewBrokerSession(pool, lease, atMs)) metrics.link.gaps.inc();
    },
    settler: (listening) => {
      metrics.link.connections.inc();
      return settlerOf((batch, turn) => settle(base, batch, listening, lapseUntilMs, turn));
    },
    isFinal: (error) => error instanceof FencedError || error instanceof GivenUpError || isRefused(error),
    connection: {
      transport: transportOf(settings),
      clientId,
      username: settings.MQTT_USERNAME,
      password: settings.MQTT_PASSWORD,
      filters: [`${prefix}${settings.LOGIN_TOPIC}/#`, `${prefix}${settings.LOGOUT_TOPIC}/#`],
      sessionExpirySeconds,
      nowMs,
    },
    logger,
  };
}

async function settle(
  base: Base,
  batch: readonly Message[],
  { lease, connection, persist: repeat }: Listening,
  lapseUntilMs: LapseUntil,
  turn: Turn,
): Promise<void> {
  const persist: Listening['persist'] = (step) =>
    repeat((isRetry) => {
      if (isRetry) base.metrics.ingest.retries.inc();
      return step(isRetry);
    });
  // The birth that would save a session may wait with another member.
  const othersMs = await persist(() => othersCaughtUpAtMs(base.pool, base.scope));
  const entryOf = (entry: SignalEntry): Entry => {
    const ownMs = lapseUntilMs(entry.nowMs);
    return { ...entry, lapseUntilMs: ownMs === null || othersMs === null ? ownMs : Math.min(ownMs, othersMs) };
  };
  const fence = { ...lease, heardAtMs: connection.heardAtMs };
  const { base: traced, trace } = tracedOf(base);
  const settled = await ingest(batch, {
    wire: base.wire,
    commit: async (entries, isAgain) => {
      if (isAgain) await turn.come();
      const order = isAgain ? null : { ahead: await turn.ahead(), onDecided: turn.onDecided };
      trace?.link(entries);
      const { outcomes } = await timedCommit(traced, entries.map(entryOf), fence, order);
      return outcomes;
    },
    quarantine: (entries) =>
      addToQuarantine(
        base.pool,
        entries.map(({ message, reason, detail }) => ({ ...message, reason, detail })),
      ),
    isRefusedForItsData: isRefused,
    persist,
    turn: turn.come,
    acknowledge: connection.acknowledge,
  });
  trace?.end(base.nowMs());
  const settleMs = base.nowMs() - (batch[0]?.receivedAtMs ?? base.nowMs());
  base.metrics.ingest.settled(settled, settleMs);
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

export async function runIngest(base: Base, listener: Listener, signal: AbortSignal): Promise<void> {
  const { pool, logger, health, settings, metrics } = base;
  health.add('link', () => ({
    ok: listener.state === 'listening' || listener.state === 'standing-by',
    state: listener.state,
    ...(listener.problem === null ? {} : { problem: listener.problem }),
  }));
  health.add('settling', () => {
    const oldestMs = listener.oldestPendingMs();
    const pendingMs = oldestMs === null ? 0 : base.nowMs() - oldestMs;
    return { ok: pendingMs <= loopSilenceMsMax, pendingMs };
  });
  const trim = async (): Promise<number> => {
    metrics.ingest.trimmed.inc(await trimQuarantine(pool, settings.QUARANTINE_ROWS_MAX));
    return trimEveryMs;
  };
  await Promise.all([
    listener.run(signal, health.watchLoop('listener', loopSilenceMsMax)),
    runSweeper(sweeperDeps(base, listener), signal, health.watchLoop('deadlines', loopSilenceMsMax)),
    loop(trim, {
      name: 'quarantine',
      signal,
      logger,
      backOff: trimBackOff,
      onSuccess: health.watchLoop('quarantine', 60_000),
    }),
    base.scope.sharedGroup === null ? null : runHeir(heirDeps(base, listener), signal),
  ]);
}

function heirDeps(base: Base, listener: Listener) {
  const { pool, scope, nowMs, logger } = base;
  const holder = randomUUID();
  return {
    isListening: () => listener.state === 'listening',
    inheritLease: (leaseMs: number) => inheritLease(pool, scope, { holder, leaseMs }),
    // While a member is gone no deadline lapses.
    linkOf: (clientId: string) => linkOf(base, clientId, () => null),
    recordWoundUp: (lease: Lease) => recordWoundUp(pool, lease, scope),
    nowMs,
    logger,
  };
}

type Horizon = { readonly lease: Omit<Fence, 'heardAtMs'>; readonly untilMs: number };

function sweeperDeps(base: Base, listener: Listener) {
  const { pool, scope, logger } = base;
  return {
    nowMs: base.nowMs,
    horizon: async (nowMs: number): Promise<Horizon | null> => {
      const own = listener.lapseHorizon(nowMs);
      if (own === null) return own;
      const othersMs = await othersCaughtUpAtMs(pool, scope);
      return othersMs === null ? own : { ...own, untilMs: Math.min(own.untilMs, othersMs) };
    },
    probe: () => listener.probe(),
    findDue: (untilMs: number, usersMax: number) => findDueUsers(pool, untilMs, usersMax),
    commit: (entries: readonly LapseEntry[], { lease }: Horizon) =>
      commitLapses(base, entries, { ...lease, heardAtMs: () => null }),
    logger,
  };
}

/** One user that cannot be decided or stored does not keep the others from their ends. */
async function commitLapses(base: Base, entries: readonly LapseEntry[], fence: Fence): Promise<void> {
  try {
    const lapses = entries.map((entry) => ({ ...entry, receipt: null, mayBeCommitted: false }));
    const { base: traced, trace } = tracedOf(base);
    await timedCommit(traced, lapses, fence);
    trace?.end(base.nowMs());
    base.metrics.ingest.swept.inc(entries.length);
  } catch (error) {
    if (!isRefused(error)) throw error;
    const [culprit] = entries;
    if (entries.length === 1) {
      base.logger.error({ event: 'deadline.refused', userId: culprit?.signal.userId, err: error });
      return;
    }
    const middle = Math.ceil(entries.length / 2);
    await commitLapses(base, entries.slice(0, middle), fence);
    await commitLapses(base, entries.slice(middle), fence);
  }
}

/** Trying again does not help: the data cannot be stored, or deciding on it met a defect of ours. */
function isRefused(error: unknown): boolean {
  return error instanceof DataRefusedError || error instanceof InvariantError;
}
