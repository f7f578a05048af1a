// Grace and leases: finds the sessions whose deadline is over and lets time pass for their users, by the same decision and the same commit
// as everything else. Deadlines are a column, not timers, so a restart forgets none; they lapse only while no birth that would save
// a session can be waiting unread (I6), which is the listener's to say.

import type { UserId } from '../core/ids.ts';
import type { Signal } from '../core/signal.ts';
import type { Logger } from '../runtime/logger.ts';
import { loop } from '../runtime/loop.ts';

export type LapseEntry = { readonly signal: Signal; readonly nowMs: number };

export type SweeperDeps<Horizon extends { readonly untilMs: number }> = {
  /** Null while no deadline may lapse. */
  readonly horizon: () => Horizon | null;
  /** Users with a deadline before `untilMs`, the most overdue first. */
  readonly findDue: (untilMs: number, usersMax: number) => Promise<readonly UserId[]>;
  readonly commit: (entries: readonly LapseEntry[], horizon: Horizon) => Promise<void>;
  readonly logger: Logger;
};

const tickMs = 200;
const usersMax = 500;
const backOff = { firstMs: 200, lastMs: 5_000 };

export async function runSweeper<Horizon extends { readonly untilMs: number }>(
  deps: SweeperDeps<Horizon>,
  signal: AbortSignal,
  onSuccess: () => void,
): Promise<void> {
  const step = async (): Promise<number> => ((await sweep(deps)) === usersMax ? 0 : tickMs);
  await loop(step, { name: 'deadlines', signal, logger: deps.logger, backOff, onSuccess });
}

/** How many users were due. */
async function sweep<Horizon extends { readonly untilMs: number }>(deps: SweeperDeps<Horizon>): Promise<number> {
  const horizon = deps.horizon();
  if (horizon === null) return 0;
  const users = await deps.findDue(horizon.untilMs, usersMax);
  if (users.length === 0) return 0;
  const entries = users.map((userId) => ({ signal: { kind: 'lapse', userId }, nowMs: horizon.untilMs }) as const);
  await deps.commit(entries, horizon);
  return users.length;
}
