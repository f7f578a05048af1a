// What readers of presence ask, plugged together.

import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import { presenceAt } from './core/as-of.ts';
import type { AsOfPort, PresencePorts } from './http/routes/presence.ts';
import { readPast } from './store/as-of.ts';
import { logHorizon } from './store/retention.ts';

const dayMs = 86_400_000;
const minuteMs = 60_000;

export function createReadPorts(pool: pg.Pool, { nowMs, settings }: Base): Pick<PresencePorts, 'presenceAsOf'> {
  return {
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
