// The half of the composition that sends: the log, the lanes that follow it, the sender and the tables, plugged together.

import { randomBytes, randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import { traceDelivery } from './app-lane-tracing.ts';
import { evidenceOf } from './core/verdict.ts';
import { loop } from './runtime/loop.ts';
import type { Sealing } from './runtime/sealing.ts';
import { listenForHints } from './store/hints.ts';
import { claimLanes, fairShare, leaveWorkers, releaseLanes, renewLanes } from './store/lane-leases.ts';
import { type AttemptRow, type LaneWrite, writeLanes } from './store/lanes.ts';
import { readEvents, readLog } from './store/log.ts';
import { attemptsTrimRowsMax, claimParked, settleParked, trimAttempts } from './store/parked.ts';
import { getSigningEndpoint, listSigningEndpoints, openSecrets, type SigningEndpoint } from './store/signing.ts';
import type { Endpoint } from './webhooks/lane.ts';
import { Lanes, type LanesDeps } from './webhooks/lanes.ts';
import { LogReader } from './webhooks/log-reader.ts';
import { type Message, testMessage } from './webhooks/message.ts';
import { failed } from './webhooks/outcome.ts';
import { type ParkedDeps, retryParked } from './webhooks/parked.ts';
import { type Entry, type LaneRecord, Recorder, type Tried } from './webhooks/recorder.ts';
import type { Sender, Sent } from './webhooks/send.ts';

/** A loop that has not succeeded for so long is not working. */
const loopSilenceMsMax = 15_000;
/** Of each endpoint, the newest that were delivered, and as many of the others. */
export const attemptsKeptMax = 1_000;
const trimEveryMs = 10_000;
/** In one statement; then those who deliver come first. */
const trimEndpointsMax = 100;
const trimPauseMs = 100;
const trimBackOff = { firstMs: 1_000, lastMs: 30_000 };

/** Longer than an attempt can take. */
const testMsMax = 30_000;

export type LanesParts = { readonly pool: pg.Pool; readonly sealing: Sealing; readonly sender: Sender };

/** Sends what the log has for every endpoint, until the signal aborts. */
export async function runLanes(base: Base, parts: LanesParts, signal: AbortSignal): Promise<void> {
  const { pool } = parts;
  const { logger, health, metrics, nowMs, settings } = base;
  const log = new LogReader((after, upTo) => readLog(pool, after, upTo));
  // Records outlive the signal: what was sent when the process stops is still written down.
  const ended = new AbortController();
  const recorder = new Recorder((entries) => writeLanes(pool, entries.map(laneWriteOf)), {
    signal: ended.signal,
    logger,
  });
  /** Where there may be attempts to trim since the last time; who loses one of these to an error trims at its next attempt. */
  const tried = new Set<string>();
  const port = lanesPort(base, parts, tried);
  const lanes = new Lanes({ ...port, lane: laneDeps(base, parts, { log, recorder, tried }), logger });
  metrics.webhooks.watchLanes({ lags: () => lanes.lags(), count: () => lanes.count }, nowMs);
  const trim = async (): Promise<number> => {
    const ids = [...tried].slice(0, trimEndpointsMax);
    if (ids.length === 0) return trimEveryMs;
    for (const id of ids) tried.delete(id);
    const trimmed = await trimAttempts(pool, ids, attemptsKeptMax);
    if (trimmed >= attemptsTrimRowsMax) for (const id of ids) tried.add(id);
    return tried.size > 0 ? trimPauseMs : trimEveryMs;
  };
  const hints = {
    willow_log: () => log.hint(),
    willow_erased: () => log.forget(),
    willow_endpoints: () => lanes.hint(),
  };
  await Promise.all([
    log.run(signal, { logger, onSuccess: health.watchLoop('log', loopSilenceMsMax) }),
    lanes.run(signal, health.watchLoop('lanes', loopSilenceMsMax)).finally(() => ended.abort()),
    listenForHints(settings.DATABASE_URL, hints, { signal, logger }),
    loop(trim, { name: 'attempts', signal, logger, backOff: trimBackOff }),
  ]);
}

function lanesPort(
  base: Base,
  { pool, sealing, sender }: LanesParts,
  tried: Set<string>,
): Omit<LanesDeps, 'lane' | 'logger'> {
  const holder = randomUUID();
  const opened = openedBy(sealing, base);
  const parked: Omit<ParkedDeps, 'endpoint'> = {
    claim: (endpointId) => claimParked(pool, endpointId),
    send: (endpoint, message, kill) => sendTo(sender, endpoint, message, base.nowMs, kill),
    settle: (one, message, sent) => {
      const { position } = one.event;
      tried.add(one.endpointId);
      base.metrics.webhooks.attempts.inc({ outcome: sent.attempt.kind });
      const attempt = attemptRow({ message, sent, atMs: base.nowMs(), first: position, last: position, count: 1 });
      return settleParked(pool, one, { isDelivered: sent.attempt.kind === 'delivered', attempt });
    },
  };
  return {
    renew: (leaseMs) => renewLanes(pool, { holder, leaseMs }),
    fairShare: (endpointIds) => fairShare(pool, endpointIds),
    claim: (leaseMs, lanesMax, endpointIds) => claimLanes(pool, { holder, leaseMs, lanesMax, endpointIds }),
    release: (held) => releaseLanes(pool, held),
    leave: () => leaveWorkers(pool, holder),
    listEndpoints: async () => opened(await listSigningEndpoints(pool)),
    attend: (endpointId, endpoint, stop) => retryParked(endpointId, { ...parked, endpoint }, stop),
  };
}

function laneDeps(
  base: Base,
  { pool, sender }: LanesParts,
  { log, recorder, tried }: { readonly log: LogReader; readonly recorder: Recorder; readonly tried: Set<string> },
): LanesDeps['lane'] {
  const { logger, metrics, nowMs, tracing } = base;
  return {
    log,
    recorder,
    readEvents: (positions) => readEvents(pool, positions),
    send: (endpoint, delivery, tries, kill) => {
      const send = (traceparent: string | null) =>
        sendTo(sender, endpoint, { ...delivery.message, traceparent }, nowMs, kill);
      return tracing === null ? send(null) : traceDelivery(tracing, { endpoint, delivery, tries, nowMs }, send);
    },
    nowMs,
    random: Math.random,
    delivered: (events, atMs) => metrics.webhooks.delivered(events, atMs),
    attempted: ({ attempt, durationMs, detail }, { endpointId, lane }, events, verdict) => {
      const outcome = attempt.kind;
      tried.add(endpointId);
      metrics.webhooks.attempts.inc({ outcome });
      if (verdict === 'park') metrics.webhooks.parked.inc(events);
      if (verdict === 'disable') metrics.webhooks.disabled.inc();
      const level = verdict === 'done' ? 'debug' : verdict === 'retry' ? 'info' : 'warn';
      logger[level]({ event: 'delivery.attempted', endpointId, lane, events, outcome, verdict, detail, durationMs });
    },
  };
}

/** One message to an endpoint, disabled ones too; null when there is none of this id. */
export async function sendTest(
  base: Base,
  { pool, sealing, sender }: LanesParts,
  endpointId: string,
): Promise<Omit<AttemptRow, 'first' | 'last'> | null> {
  const found = await getSigningEndpoint(pool, endpointId);
  if (found === null) return null;
  const endpoint = endpointOf(found, sealing);
  const atMs = base.nowMs();
  const message = testMessage(endpoint.id, randomBytes(9).toString('base64url'), atMs);
  const giveUp = AbortSignal.timeout(testMsMax);
  const sent = await sendTo(sender, endpoint, message, base.nowMs, giveUp).catch((error: unknown): Sent => {
    if (!giveUp.aborted) throw error;
    return { ...failed('timeout', 'its other requests left no room for this one'), durationMs: testMsMax, body: null };
  });
  return attemptRow({ message, sent, atMs, first: 0, last: 0, count: 0 });
}

function sendTo(
  sender: Sender,
  endpoint: Endpoint,
  message: Message & { readonly traceparent?: string | null },
  nowMs: () => number,
  signal: AbortSignal,
): Promise<Sent> {
  const timestampMs = nowMs();
  return sender.send(endpoint, { ...message, timestampMs, secrets: endpoint.secretsAt(timestampMs) }, signal);
}

function endpointOf(found: SigningEndpoint, sealing: Sealing): Endpoint {
  const { events, ...rest } = found;
  return { ...rest, types: events === null ? null : new Set(events), secretsAt: openSecrets(found, sealing) };
}

/** Secrets are opened once for each revision. An endpoint whose secret no key opens waits until it is rotated, and says so. */
function openedBy(sealing: Sealing, { logger }: Base): (all: readonly SigningEndpoint[]) => readonly Endpoint[] {
  let known: ReadonlyMap<string, { readonly revision: number; readonly endpoint: Endpoint | null }> = new Map();
  const open = (found: SigningEndpoint): Endpoint | null => {
    const before = known.get(found.id);
    if (before?.revision === found.revision) return before.endpoint;
    try {
      return endpointOf(found, sealing);
    } catch (error) {
      logger.error({ event: 'endpoint.unreadable', endpointId: found.id, err: error });
      return null;
    }
  };
  return (all) => {
    // Those that are gone, or disabled, are forgotten with their secrets.
    known = new Map(all.map((found) => [found.id, { revision: found.revision, endpoint: open(found) }]));
    return all.flatMap(({ id, failingSinceMs, lastSuccessAtMs, failingLanes }) => {
      const endpoint = known.get(id)?.endpoint ?? null;
      return endpoint === null ? [] : [{ ...endpoint, failingSinceMs, lastSuccessAtMs, failingLanes }];
    });
  };
}

function attemptRow({ message, sent, atMs, first, last, count }: Tried): AttemptRow {
  const { attempt, durationMs, detail, body } = sent;
  const { status } = attempt;
  return { webhookId: message.id, first, last, count, atMs, durationMs, outcome: attempt.kind, status, detail, body };
}

function laneWriteOf({ lane, records }: Entry): LaneWrite {
  const last = records.at(-1) as LaneRecord;
  const tried = records.flatMap((record) => record.tried ?? []);
  const success = tried.findLast(({ sent }) => evidenceOf(sent.attempt) === 'works');
  const failure = tried.find(({ sent, isOutdated }) => isOutdated !== true && evidenceOf(sent.attempt) === 'fails');
  return {
    ...lane,
    state: last.state,
    isOver: last.isOver ?? false,
    attempts: tried.map(attemptRow),
    parked: records.flatMap(parkedRows),
    succeededAtMs: success?.atMs ?? null,
    failedAtMs: failure?.atMs ?? null,
    disabled: last.disabled ?? null,
  };
}

function parkedRows({ tried, parked }: LaneRecord): LaneWrite['parked'] {
  if (tried === undefined || parked === undefined) return [];
  const { status, detail } = attemptRow(tried);
  const { because: reason, attempts } = parked;
  return parked.events.map((event) => ({ event, reason, atMs: tried.atMs, attempts, status, detail }));
}
