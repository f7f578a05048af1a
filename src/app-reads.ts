// What readers of presence ask, plugged together.

import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import { presenceAt } from './core/as-of.ts';
import type { EventsOfUserPort } from './http/routes/events.ts';
import type { EventsPort } from './http/routes/log.ts';
import type { AsOf, AsOfPort } from './http/routes/presence.ts';
import type { PresenceListsPort } from './http/routes/presence-lists.ts';
import type { SessionsPort } from './http/routes/sessions.ts';
import { shared } from './http/shared.ts';
import { type TurnLimits, Turns } from './http/turns.ts';
import { readPast } from './store/as-of.ts';
import { readCounts } from './store/counts.ts';
import { listEvents } from './store/log-pages.ts';
import { listPresence, queryPresence } from './store/presence-lists.ts';
import { listEventsOfUser, listSessions } from './store/reads.ts';
import { logHorizon } from './store/retention.ts';

const dayMs = 86_400_000;
const minuteMs = 60_000;
/** Counting looks at every user, by one at a time, who waits for no turn: a third of the time of one connection, until it takes half a second. */
const countsRestFactor = 2;

/**
 * Of the connections of the API (app.ts): what is asked of many, or of the past, has these, so that what is cheap, the keys and what tells
 * whether the process is well always find a connection.
 */
export const dearReads: TurnLimits = {
  underWayMax: 3,
  pastMax: 2,
  // As for a connection.
  waitMsMax: 5_000,
  // A thousand at most, half of the requests that are worked on: the others have room.
  waitingBytesMax: 64 * 1024 * 1024,
};

type ReadPorts = {
  readonly turns: Turns;
  readonly presenceAsOf: AsOfPort;
  readonly presenceLists: PresenceListsPort;
  readonly listSessions: SessionsPort['listSessions'];
  readonly events: EventsPort;
  readonly eventsOfUser: EventsOfUserPort;
};

export function createReadPorts(pool: pg.Pool, { scope, nowMs, settings, metrics }: Base): ReadPorts {
  const turns = new Turns(dearReads, () => metrics.http.refused.inc({ why: 'no-turn' }));
  metrics.http.watchWaiting(() => turns.waiting);
  const countPresence = shared(() => readCounts(pool, scope), countsRestFactor);
  metrics.watchPresence(countPresence);
  const presenceAsOf = createAsOfPort(pool, {
    nowMs,
    retentionDays: settings.EVENT_RETENTION_DAYS,
    horizonMs: () => logHorizon(pool),
  });
  return {
    turns,
    presenceLists: {
      queryPresence: (userIds, withSessions) => queryPresence(pool, scope, userIds, withSessions),
      listPresence: (filter, page) => listPresence(pool, scope, filter, page),
      countPresence,
    },
    listSessions: (userId, page) => listSessions(pool, userId, page),
    events: (question) => listEvents(pool, question),
    eventsOfUser: (userId, page) => listEventsOfUser(pool, userId, page),
    presenceAsOf,
  };
}

type Retention = {
  readonly nowMs: () => number;
  readonly retentionDays: number;
  /** Up to when events may be gone; null while none is. */
  readonly horizonMs: () => Promise<number | null>;
};

export function createAsOfPort(pool: pg.Pool, { nowMs, retentionDays, horizonMs }: Retention): AsOfPort {
  return async (userId, atMs) => {
    const { events, last } = await readPast(pool, userId, atMs);
    // Asked for last: what went while the events were read is known by then.
    const horizon = (await horizonMs()) ?? 0;
    const oldestMs = Math.max(nowMs() - retentionDays * dayMs, horizon);
    if (atMs < oldestMs) return goneUntil(oldestMs);
    const told = presenceAt(userId, atMs, events, last);
    // While he is erased: of what is now, at least, his own row tells.
    return told === null ? goneUntil(nowMs()) : { kind: 'known', past: told };
  };
}

/** It goes on while the caller asks again: a little later, that it is of use. */
function goneUntil(oldestMs: number): AsOf {
  return { kind: 'gone', fromMs: Math.ceil((oldestMs + minuteMs) / minuteMs) * minuteMs };
}
