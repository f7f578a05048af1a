// What is told of who is online. It is counted for all processes in the database, so each of them tells the same; while the database is away, or
// slow, the scrape goes on without it.

import type { Registry } from 'prom-client';
import { askedGauge } from './buckets.ts';

export type OnlineCounts = { readonly online: number; readonly sessions: number; readonly lost: number };

/** A scrape that waits longer misses more than these. */
const countsMsMax = 2_000;

export class PresenceMetrics {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** `counts` is asked whenever the metrics are. */
  watch(counts: () => Promise<OnlineCounts>): void {
    const soon = (): Promise<OnlineCounts> => within(counts(), countsMsMax);
    askedGauge(
      this.#registry,
      { name: 'willow_sessions', help: 'Sessions that are live, by state (online, lost).', labelNames: ['state'] },
      async () => {
        const { sessions, lost } = await soon();
        return [
          { labels: { state: 'online' }, value: sessions - lost },
          { labels: { state: 'lost' }, value: lost },
        ];
      },
    );
    askedGauge(
      this.#registry,
      { name: 'willow_users_online', help: 'Users of whom a session is live.', labelNames: [] },
      async () => [{ labels: {}, value: (await soon()).online }],
    );
  }
}

async function within<Value>(value: Promise<Value>, msMax: number): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`there is no answer within ${msMax} ms`)), msMax);
  try {
    return await Promise.race([value, promise]);
  } finally {
    clearTimeout(timer);
  }
}
