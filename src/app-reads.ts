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
import { atMost } from './runtime/at-most.ts';
import { readPast } from './store/as-of.ts';
import { readCounts } from './store/counts.ts';
import { DatabaseAwayError } from './store/database.ts';
import { listEvents } from './store/log-pages.ts';
import { listPresence, queryPresence } from './store/presence-lists.ts';
import { listEventsOfUser, listSessions } from './store/reads.ts';
import { logHorizon } from './store/retention.ts';

const dayMs = 86_400_000;
const minuteMs = 60_000;
/** Counting looks at every user: a third of the time of one connection at most goes into it. */
const countsRestFactor = 2;

/**
 * Of the connections of the API (app.ts): what is asked of many, or of the past, has these, so that what is cheap, the keys and what tells
 * whether the process is well always find a connection.
 */
const dearReadsMax = 3;
/** Of those: the past may have to be read back a long way. */
const asOfReadsMax = 2;
/** As for a connection. */
const patience = { waitMsMax: 5_000, error: () => new DatabaseAwayError('too many dear reads are waiting') };

type ReadPorts = {
  readonly presenceAsOf: AsOfPort;
  readonly presenceLists: PresenceListsPort;
  readonly listSessions: SessionsPort['listSessions'];
  readonly events: EventsPort;
  readonly eventsOfUser: EventsOfUserPort;
};

export function createReadPorts(pool: pg.Pool, { scope, nowMs, settings, metrics }: Base): ReadPorts {
  const dear = atMost(dearReadsMax, patience);
  const past = atMost(asOfReadsMax, patience);
  const countPresence = shared(() => dear(() => readCounts(pool, scope)), countsRestFactor);
  metrics.watchPresence(countPresence);
  const presenceAsOf = createAsOfPort(pool, {
    nowMs,
    retentionDays: settings.EVENT_RETENTION_DAYS,
    horizonMs: () => logHorizon(pool),
  });
  return {
    presenceLists: {
      queryPresence: (userIds, withSessions) => dear(() => queryPresence(pool, scope, userIds, withSessions)),
      listPresence: (filter, page) => dear(() => listPresence(pool, scope, filter, page)),
      countPresence,
    },
    listSessions: (userId, page) => dear(() => listSessions(pool, userId, page)),
    events: (question) => dear(() => listEvents(pool, question)),
    eventsOfUser: (userId, page) => dear(() => listEventsOfUser(pool, userId, page)),
    presenceAsOf: (userId, atMs) => past(() => dear(() => presenceAsOf(userId, atMs))),
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
