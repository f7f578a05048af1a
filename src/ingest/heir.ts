// What a member of a shared group leaves behind. The broker goes on queueing for a member that is gone, and tells nobody; so another
// one, the heir, takes over its lease and its broker session, ends its subscription, settles all that was queued, and strikes it
// off the group. Nothing is lost on the way: until then the broker keeps it, for the next heir or for the member itself.
//
// The heir's own subscription must be there before the other one ends: with none left in the group, messages fall nowhere.

import type { Logger } from '../runtime/logger.ts';
import { loop, pause } from '../runtime/loop.ts';
import type { Connection } from './connection.ts';
import { type Lease, leaseMs } from './lease.ts';
import { type Claim, type Held, Link, type LinkDeps, type Listening } from './link.ts';

export type HeirDeps = {
  /** Whether this process's own subscription is there. */
  readonly isListening: () => boolean;
  /** The lease of a member that is gone. */
  readonly inheritLease: (leaseMs: number) => Promise<Claim | null>;
  readonly linkOf: (clientId: string) => LinkDeps;
  /** Strikes the member off the group, and frees its lease. */
  readonly recordWoundUp: (lease: Lease) => Promise<void>;
  readonly nowMs: () => number;
  readonly logger: Logger;
};

const pollMs = 1_000;
const backOff = { firstMs: 1_000, lastMs: 30_000 };
/** Between two questions whether the broker has more; it answers them in less. */
const askEveryMs = 100;

export async function runHeir(deps: HeirDeps, signal: AbortSignal): Promise<void> {
  const step = async (): Promise<number> => {
    const claim = deps.isListening() ? await deps.inheritLease(leaseMs) : null;
    if (claim === null) return pollMs;
    return (await windUp(claim, deps, signal)) ? 0 : pollMs;
  };
  await loop(step, { name: 'heir', signal, logger: deps.logger, backOff });
}

/** False when it had to stop on the way. */
async function windUp(claim: Claim, deps: HeirDeps, signal: AbortSignal): Promise<boolean> {
  const startedAtMs = deps.nowMs();
  const link = deps.linkOf(claim.clientId);
  let messages = 0;
  let isWoundUp = false;
  const settler: LinkDeps['settler'] = (listening) => {
    const settle = link.settler(listening);
    return (batch) => {
      messages += batch.length;
      return settle(batch);
    };
  };
  const inherited = new Link({ ...link, settler }, () => ({ connectedSinceMs: null, caughtUpAtMs: null }));
  const settleRest = async (held: Held, { lease, connection }: Listening): Promise<void> => {
    if (!deps.isListening()) throw new Error('the link of this process went down: it cannot be an heir');
    await connection.unsubscribe();
    await inherited.tell(lease);
    if (!(await isEmpty(connection, held.over, deps.nowMs))) return;
    // Struck off before its broker session ends: killed in between, we leave a session without subscriptions behind, and not a member
    // whose session seems to be lost.
    await held.stopRenewing();
    await deps.recordWoundUp(lease);
    isWoundUp = true;
    await connection.endSession();
  };
  await inherited.hold(claim, signal, (held) => inherited.listen(held, (listening) => settleRest(held, listening)));
  const durationMs = deps.nowMs() - startedAtMs;
  if (isWoundUp) deps.logger.info({ event: 'member.wound-up', clientId: claim.clientId, messages, durationMs });
  return isWoundUp;
}

/** Waits until all is settled, and the broker knows. False when it had to stop on the way. */
async function isEmpty(connection: Connection, over: AbortSignal, nowMs: () => number): Promise<boolean> {
  const stopped = AbortSignal.any([over, connection.closed]);
  // Once to know that the broker has nothing more; once again for an answer that comes behind the last acknowledgements.
  for (let times = 0; times < 2; times += 1) {
    const sinceMs = nowMs();
    while ((connection.caughtUpAtMs() ?? 0) <= sinceMs) {
      if (stopped.aborted) return false;
      connection.probe();
      await pause(askEveryMs, stopped);
    }
  }
  return !stopped.aborted;
}
