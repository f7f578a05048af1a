// Retention, plugged together: what is older than EVENT_RETENTION_DAYS goes, a stretch of the log at a time, from every process; that two do not
// get in each other's way is the business of the tables. When a webhook holds the log back, the log tells once which.

import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import { runTrimming } from './app-trimming.ts';
import { cutWhenAborted } from './store/database.ts';
import { giveUpEvents, sweepGivenUp } from './store/retention.ts';

const dayMs = 86_400_000;
/** Between two stretches: some 20,000 events a second at most, half of the time for those who write. */
const againMs = 20;

/**
 * Of its own: whoever asks over HTTP does not hold it up. A user with very many sessions takes it a while, and nobody waits for that: one
 * connection, on which statements may be long, and the process does not stop for them.
 */
export const retentionPool = { connectionsMax: 1, statementMsMax: 60_000 };

/** Until the signal aborts. */
export async function runRetention(base: Base, pool: pg.Pool, signal: AbortSignal): Promise<void> {
  const {
    logger,
    metrics: { retention },
    nowMs,
    settings,
  } = base;
  cutWhenAborted(pool, signal);
  const keptMs = settings.EVENT_RETENTION_DAYS * dayMs;
  let heldBy: string | null = null;
  let oldestAtMs: number | null = null;
  retention.watchLog(() => ({ oldestAtMs, keptMs, isHeld: heldBy !== null }), nowMs);
  const trim = async (): Promise<boolean> => {
    const given = await giveUpEvents(pool, nowMs() - keptMs);
    if (given.heldBy !== null && given.heldBy !== heldBy) {
      logger.warn({ event: 'log.held-back', endpointId: given.heldBy, retentionDays: settings.EVENT_RETENTION_DAYS });
    }
    ({ heldBy, oldestAtMs } = given);
    const swept = await sweepGivenUp(pool);
    retention.events.inc(swept.events);
    retention.sessions.inc(swept.sessions);
    return given.isMore || swept.isMore;
  };
  await runTrimming(base, { name: 'retention', trim, againMs }, signal);
}
