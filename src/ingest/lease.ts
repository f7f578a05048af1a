// Holding the ingest lease: renewed every second, and given up by this process's own clock before the database would give it to another,
// whatever keeps the renewal from arriving.

import type { Logger } from '../runtime/logger.ts';
import { pause } from '../runtime/loop.ts';

export type Lease = { readonly clientId: string; readonly token: number };

export type LinkState = {
  /** Whether the broker still has our session is not known, or not recorded. */
  readonly isInDoubt: boolean;
  readonly connectedSinceMs: number | null;
  readonly heardAtMs: number | null;
  readonly caughtUpAtMs: number | null;
};

/** How long a process that dies or is stopped keeps the others from listening. */
export const leaseMs = 4_000;
const renewEveryMs = 1_000;
/** Ours ends earlier than the database's. */
const safetyMs = 500;

/** Renews until the signal aborts; aborts `lost` when the lease is lost, or may be. */
export async function keepLease(
  renew: () => Promise<boolean>,
  options: { readonly lost: AbortController; readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  const { lost, signal, logger } = options;
  const expire = () => lost.abort(new Error('the ingest lease could not be renewed in time'));
  let timer = setTimeout(expire, leaseMs - safetyMs);
  const over = AbortSignal.any([lost.signal, signal]);
  while (!over.aborted) {
    const startedAtMs = performance.now();
    try {
      const isHeld = await renew();
      clearTimeout(timer);
      const leftMs = leaseMs - safetyMs - (performance.now() - startedAtMs);
      if (isHeld) timer = setTimeout(expire, leftMs);
      else lost.abort(new Error('the ingest lease is held by another process'));
    } catch (error) {
      logger.warn({ event: 'lease.unrenewed', err: error });
    }
    await pause(renewEveryMs, over);
  }
  clearTimeout(timer);
}
