// What readers of presence ask, plugged together.

import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import { presenceAt } from './core/as-of.ts';
import type { AsOfPort } from './http/routes/presence.ts';
import type { PresenceListsPort } from './http/routes/presence-lists.ts';
import { shared } from './http/shared.ts';
import { readPast } from './store/as-of.ts';
import { readCounts } from './store/counts.ts';
import { listPresence, queryPresence } from './store/presence-lists.ts';
import { logHorizon } from './store/retention.ts';

const dayMs = 86_400_000;
const minuteMs = 60_000;
/** Counting looks at every user: a third of the time of one connection at most goes into it. */
const countsRestFactor = 2;

type ReadPorts = { readonly presenceAsOf: AsOfPort; readonly presenceLists: PresenceListsPort };

export function createReadPorts(pool: pg.Pool, { scope, nowMs, settings, metrics }: Base): ReadPorts {
  const countPresence = shared(() => readCounts(pool, scope), countsRestFactor);
  metrics.presence.watch(countPresence);
  return {
    presenceLists: {
      queryPresence: (userIds, withSessions) => queryPresence(pool, scope, userIds, withSessions),
      listPresence: (filter, page) => listPresence(pool, scope, filter, page),
      countPresence,
    },
    presenceAsOf: createAsOfPort(pool, {
      nowMs,
      retentionDays: settings.EVENT_RETENTION_DAYS,
      horizonMs: () => logHorizon(pool),
    }),
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
    const events = await readPast(pool, userId, atMs);
    // Asked for last: what went while the events were read is known by then.
    const horizon = (await horizonMs()) ?? 0;
    const oldestMs = Math.max(nowMs() - retentionDays * dayMs, horizon);
    if (atMs >= oldestMs) return { kind: 'known', past: presenceAt(userId, atMs, events) };
    // It goes on while the caller asks again: a little later, that it is of use.
    return { kind: 'gone', fromMs: Math.ceil((oldestMs + minuteMs) / minuteMs) * minuteMs };
  };
}
