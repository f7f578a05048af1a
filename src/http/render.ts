// What the core knows, as callers are shown it: camelCase JSON, times in ISO 8601 UTC. Every field is named here, so that
// nothing is shown because somebody added it elsewhere.

import type { PastPresence } from '../core/as-of.ts';
import type { PreparedMessage } from '../core/prepared.ts';
import type { Presence as PresenceOfUser, ShownSession } from '../core/presence.ts';
import { connectionEpoch, type EndedSession, type Event, type Session } from '../core/session.ts';
import { escapedBytes, escapedText } from './escaped.ts';
import { isoTime } from './iso-time.ts';
import type { Attempt, ParkedEvent } from './routes/attempts.ts';
import type { AuditRecord } from './routes/audit.ts';
import type { ApiKey } from './routes/keys.ts';
import type { Prepared } from './routes/prepared-sessions.ts';
import type { ListedPresence, PresenceCounts } from './routes/presence-lists.ts';
import type { Quarantined } from './routes/quarantine.ts';
import type { Webhook } from './routes/webhooks.ts';

export type LoggedEvent = Event & { readonly position: number };

export function presenceBody(presence: PresenceOfUser) {
  return {
    userId: presence.userId,
    status: presence.status,
    since: isoTimeOrNull(presence.sinceMs),
    lastSeenAt: isoTimeOrNull(presence.lastSeenAtMs),
    sequence: presence.sequence,
    sessions: presence.sessions.map(commonBody),
    asOf: isoTimeOrNull(presence.asOfMs),
    stale: presence.isStale,
  };
}

/** Sessions are there where they were asked for. */
export function listedBody(presence: ListedPresence) {
  return {
    userId: presence.userId,
    status: presence.status,
    since: isoTimeOrNull(presence.sinceMs),
    lastSeenAt: isoTimeOrNull(presence.lastSeenAtMs),
    sequence: presence.sequence,
    sessions: presence.sessions?.map(commonBody),
    asOf: isoTimeOrNull(presence.asOfMs),
    stale: presence.isStale,
  };
}

export function countsBody({ online, lost, sessions, users, asOfMs, isStale, position }: PresenceCounts) {
  return { online, lost, sessions, users, asOf: isoTimeOrNull(asOfMs), stale: isStale, position };
}

export function pastBody({ userId, status, sinceMs, sequence, atMs }: PastPresence) {
  return { userId, status, since: isoTimeOrNull(sinceMs), sequence, at: isoTime(atMs) };
}

export function sessionBody(session: Session) {
  const common = commonBody({ ...session, epoch: connectionEpoch(session) });
  if (session.status !== 'ended') return common;
  return { ...common, endedAt: isoTime(session.endedAtMs), reason: session.reason };
}

function commonBody(session: ShownSession | EndedSession) {
  return {
    sessionId: session.sessionId,
    status: session.status,
    epoch: session.epoch,
    clientId: session.clientId,
    device: session.device,
    startedAt: isoTime(session.startedAtMs),
    lastSeenAt: isoTime(session.lastSeenAtMs),
  };
}

/** `reason` is there on ends only. */
export function eventBody(event: LoggedEvent) {
  return {
    position: event.position,
    sequence: event.sequence,
    type: event.type,
    userId: event.userId,
    sessionId: event.sessionId,
    epoch: event.epoch,
    ...(event.reason !== null && { reason: event.reason }),
    device: event.device,
    at: isoTime(event.atMs),
  };
}

export function preparedBody({ sessionId, expiresAtMs, will, birth }: Prepared) {
  return { sessionId, expiresAt: isoTime(expiresAtMs), will: messageBody(will), birth: messageBody(birth) };
}

function messageBody({ topic, payload }: PreparedMessage) {
  return { topic, payload, qos: 1, retain: false };
}

export function webhookBody(webhook: Webhook) {
  return {
    id: webhook.id,
    url: webhook.url,
    description: webhook.description,
    events: webhook.events,
    lanes: webhook.lanes,
    maxBatch: webhook.maxBatch,
    status: webhook.disabledReason === null ? ('enabled' as const) : ('disabled' as const),
    disabledReason: webhook.disabledReason,
    failingSince: isoTimeOrNull(webhook.failingSinceMs),
    lastSuccessAt: isoTimeOrNull(webhook.lastSuccessAtMs),
    previousSecretUntil: isoTimeOrNull(webhook.previousSecretUntilMs),
    lag: { position: webhook.position, head: webhook.head, events: Math.max(0, webhook.head - webhook.position) },
    createdAt: isoTime(webhook.createdAtMs),
    updatedAt: isoTime(webhook.updatedAtMs),
  };
}

export function attemptBody(attempt: Attempt) {
  return {
    id: attempt.id,
    webhookId: attempt.webhookId,
    firstPosition: attempt.first,
    lastPosition: attempt.last,
    count: attempt.count,
    at: isoTime(attempt.atMs),
    durationMs: attempt.durationMs,
    outcome: attempt.outcome,
    status: attempt.status,
    detail: attempt.detail,
    body: attempt.body,
  };
}

export function parkedBody(parked: ParkedEvent) {
  return {
    id: parked.id,
    event: eventBody(parked.event),
    reason: parked.reason,
    parkedAt: isoTime(parked.parkedAtMs),
    attempts: parked.attempts,
    status: parked.status,
    detail: parked.detail,
    retryAt: isoTimeOrNull(parked.retryAtMs),
  };
}

export function keyBody(key: ApiKey) {
  return {
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    createdAt: isoTime(key.createdAtMs),
    expiresAt: isoTimeOrNull(key.expiresAtMs),
    lastUsedAt: isoTimeOrNull(key.lastUsedAtMs),
  };
}

export function auditBody(record: AuditRecord) {
  return {
    id: record.id,
    at: isoTime(record.atMs),
    actor: record.actor,
    action: record.action,
    target: record.target,
    detail: record.detail,
  };
}

export function quarantinedBody(message: Quarantined) {
  return {
    id: message.id,
    receivedAt: isoTime(message.receivedAtMs),
    topic: escapedText(message.topic),
    reason: message.reason,
    detail: escapedText(message.detail),
    payload: escapedBytes(message.payload),
    payloadBytes: message.payloadBytes,
    isCut: message.payload.length < message.payloadBytes,
  };
}

function isoTimeOrNull(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}
