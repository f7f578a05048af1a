// What is counted of retention: what went, how old the log is, and by how much a webhook holds it back.

import { Counter, type Registry } from 'prom-client';
import { askedValue } from './buckets.ts';

/** The log as this process has last seen it; `oldestAtMs` is null where it is empty. */
export type LogAge = { readonly oldestAtMs: number | null; readonly keptMs: number; readonly isHeld: boolean };

export class RetentionMetrics {
  readonly #registry: Registry;
  readonly events;
  readonly sessions;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#registry = registry;
    this.events = new Counter({
      name: 'willow_log_trimmed_total',
      help: 'Events that this process removed from the log because they were too old.',
      registers,
    });
    this.sessions = new Counter({
      name: 'willow_sessions_trimmed_total',
      help: 'Sessions that this process removed because they had ended too long ago.',
      registers,
    });
  }

  /** `age` is asked whenever the metrics are. */
  watchLog(age: () => LogAge, nowMs: () => number): void {
    const olderThan = (ms: number): number => {
      const { oldestAtMs } = age();
      return oldestAtMs === null ? 0 : Math.max(0, nowMs() - oldestAtMs - ms) / 1000;
    };
    askedValue(
      this.#registry,
      'willow_log_oldest_seconds',
      'The age of the oldest event of the log; 0 while there is none.',
      () => olderThan(0),
    );
    askedValue(
      this.#registry,
      'willow_log_held_seconds',
      'By how much the oldest event of the log is too old, because an enabled webhook has not got it; 0 otherwise.',
      () => (age().isHeld ? olderThan(age().keptMs) : 0),
    );
  }
}
