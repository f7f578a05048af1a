// What the core knows, as callers are shown it: camelCase JSON, times in ISO 8601 UTC. Every field is named here, so that
// nothing is shown because somebody added it elsewhere.

import type { Presence as PresenceOfUser, ShownSession } from '../core/presence.ts';
import type { EndedSession, Event, Session } from '../core/session.ts';
import { isoTime } from './iso-time.ts';

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

export function sessionBody(session: Session) {
  if (session.status !== 'ended') return commonBody(session);
  return { ...commonBody(session), endedAt: isoTime(session.endedAtMs), reason: session.reason };
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

function isoTimeOrNull(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}
