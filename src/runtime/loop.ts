// The one shape of a loop: it runs until its signal aborts, every wait takes the signal, and a failing step backs off
// with the log level rising with the delay.

import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from './logger.ts';

/** Waits, or returns early when the signal aborts; never throws. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

export type BackOff = { readonly firstMs: number; readonly lastMs: number };

/** Doubling from `firstMs` to `lastMs`, ±20 %, so that processes that failed together do not return together. */
export function backOffMs(failures: number, { firstMs, lastMs }: BackOff): number {
  const exact = Math.min(lastMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(exact * (0.8 + 0.4 * Math.random()));
}

export type LoopOptions = {
  readonly name: string;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly backOff: BackOff;
  /** Called after every step that succeeded: what health checks read. */
  readonly onSuccess?: () => void;
};

/** Repeats `step` until the signal aborts. A step returns how long to wait before the next one. */
export async function loop(step: () => Promise<number>, options: LoopOptions): Promise<void> {
  const { signal, logger, name } = options;
  let failures = 0;
  while (!signal.aborted) {
    let waitMs: number;
    try {
      waitMs = await step();
      failures = 0;
      options.onSuccess?.();
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      waitMs = backOffMs(failures, options.backOff);
      logger[levelOf(failures)]({ event: 'loop.failed', loop: name, failures, waitMs, err: error });
    }
    if (waitMs > 0) await pause(waitMs, signal);
  }
}

function levelOf(failures: number): 'info' | 'warn' | 'error' {
  if (failures <= 1) return 'info';
  return failures <= 4 ? 'warn' : 'error';
}
