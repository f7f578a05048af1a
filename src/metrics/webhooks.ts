// What is counted of webhooks: attempts, how long an event takes to its receivers, and how far those are behind.

import { Counter, Histogram, type Registry } from 'prom-client';
import type { Attempt } from '../core/verdict.ts';
import { bornCounter, membersOf } from './born.ts';
import { askedGauge, askedValue, secondsBuckets } from './buckets.ts';

const outcomes = membersOf<Attempt['kind']>({ delivered: true, refused: true, gone: true, failed: true });

/** How far an endpoint is behind, by the lanes that this process runs. */
export type Lag = {
  readonly endpointId: string;
  readonly events: number;
  readonly oldestAtMs: number | null;
  /** Since when nothing was delivered to it, and something failed; null when it works. */
  readonly failingSinceMs: number | null;
};

export class WebhookMetrics {
  readonly #registry: Registry;
  readonly #delivery;
  readonly attempts;
  readonly parked;
  readonly disabled;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#registry = registry;
    this.attempts = bornCounter(
      {
        name: 'willow_webhook_attempts_total',
        help: 'Webhook requests, by outcome (delivered, refused, gone, failed).',
        labelNames: ['outcome'],
        registers,
      },
      outcomes.map((outcome) => ({ outcome })),
    );
    this.parked = new Counter({
      name: 'willow_webhook_parked_total',
      help: 'Events put aside because their receiver refused them, or failed for a day on them alone.',
      registers,
    });
    this.disabled = new Counter({
      name: 'willow_webhook_disabled_total',
      help: 'Webhooks disabled because their receiver is gone or failed for too long.',
      registers,
    });
    this.#delivery = new Histogram({
      name: 'willow_webhook_delivery_seconds',
      help: 'From the time of an event to the 2xx of its receiver, by the reason of the end it tells of (none: a beginning).',
      labelNames: ['reason'],
      buckets: [...secondsBuckets, 60, 600, 3_600, 86_400],
      registers,
    });
  }

  /** `nowMs` is when the receiver answered, by the clock of this process; when the event was, another one may have said by its own. */
  delivered(events: readonly { readonly atMs: number; readonly reason: string | null }[], nowMs: number): void {
    for (const { atMs, reason } of events) {
      this.#delivery.observe({ reason: reason ?? 'none' }, Math.max(0, nowMs - atMs) / 1000);
    }
  }

  /** `lags` and `count` are asked whenever the metrics are. */
  watchLanes(
    { lags, count }: { readonly lags: () => readonly Lag[]; readonly count: () => number },
    nowMs: () => number,
  ): void {
    const ageSeconds = (atMs: number | null) => (atMs === null ? 0 : Math.max(0, nowMs() - atMs) / 1000);
    const gauge = (name: string, help: string, valueOf: (lag: Lag) => number) =>
      askedGauge(this.#registry, { name, help, labelNames: ['endpoint'] }, () =>
        lags().map((lag) => ({ labels: { endpoint: lag.endpointId }, value: valueOf(lag) })),
      );
    gauge(
      'willow_webhook_lag_events',
      'Events of the log that the slowest lane of an endpoint has not passed.',
      (lag) => lag.events,
    );
    gauge('willow_webhook_lag_seconds', 'The age of the oldest event that is being delivered to an endpoint.', (lag) =>
      ageSeconds(lag.oldestAtMs),
    );
    gauge(
      'willow_webhook_failing_seconds',
      'How long every request to an endpoint has failed; 0 while it works.',
      (lag) => ageSeconds(lag.failingSinceMs),
    );
    askedValue(this.#registry, 'willow_webhook_lanes', 'Lanes that run in this process.', count);
  }
}
