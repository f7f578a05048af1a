// Grace and leases: finds the sessions whose deadline is over and lets time pass for their users, by the same decision and the same commit
// as everything else. Deadlines are a column, not timers, so a restart forgets none; they lapse only while no birth that would save
// a session can be waiting unread (I6), which is the listener's to say.

import type { UserId } from '../core/ids.ts';
import type { Signal } from '../core/signal.ts';
import type { Logger } from '../runtime/logger.ts';
import { loop } from '../runtime/loop.ts';

export type LapseEntry = { readonly signal: Signal; readonly nowMs: number; readonly lapseUntilMs: number };

export type SweeperDeps<Horizon extends { readonly untilMs: number }> = {
  readonly nowMs: () => number;
  /** Null while no deadline may lapse. */
  readonly horizon: (nowMs: number) => Promise<Horizon | null>;
  /** Asks the broker for a sign of life: the horizon is never later than the last one. */
  readonly probe: () => void;
  /** Users with a deadline before `untilMs`, the most overdue first. */
  readonly findDue: (untilMs: number, usersMax: number) => Promise<readonly UserId[]>;
  readonly commit: (entries: readonly LapseEntry[], horizon: Horizon) => Promise<void>;
  readonly logger: Logger;
};

const tickMs = 200;
/** Within which a broker beside us answers. */
const probeMs = 20;
const usersMax = 500;
const backOff = { firstMs: 200, lastMs: 5_000 };

export async function runSweeper<Horizon extends { readonly untilMs: number }>(
  deps: SweeperDeps<Horizon>,
  signal: AbortSignal,
  onSuccess: () => void,
): Promise<void> {
  let isProbed = false;
  const step = async (): Promise<number> => {
    const lapsed = await sweep(deps);
    if (lapsed === usersMax) return 0;
    isProbed = lapsed === 0 && !isProbed && (await probeIfDue(deps));
    return isProbed ? probeMs : tickMs;
  };
  await loop(step, { name: 'deadlines', signal, logger: deps.logger, backOff, onSuccess });
}

/** How many users were due. */
async function sweep<Horizon extends { readonly untilMs: number }>(deps: SweeperDeps<Horizon>): Promise<number> {
  const horizon = await deps.horizon(deps.nowMs());
  if (horizon === null) return 0;
  const users = await deps.findDue(horizon.untilMs, usersMax);
  if (users.length === 0) return 0;
  const moment = { nowMs: deps.nowMs(), lapseUntilMs: horizon.untilMs };
  const entries = users.map((userId) => ({ signal: { kind: 'lapse', userId }, ...moment }) as const);
  await deps.commit(entries, horizon);
  return users.length;
}

/** A deadline that is over, but later than the last packet: the broker may be gone without our knowing, or it just had nothing to say. */
async function probeIfDue<Horizon extends { readonly untilMs: number }>(deps: SweeperDeps<Horizon>): Promise<boolean> {
  const nowMs = deps.nowMs();
  if ((await deps.horizon(nowMs)) === null || (await deps.findDue(nowMs, 1)).length === 0) return false;
  deps.probe();
  return true;
}
