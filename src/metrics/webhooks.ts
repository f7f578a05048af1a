// What is counted of webhooks: attempts, how long an event takes to its receivers, and how far those are behind.

import { Counter, Histogram, type Registry } from 'prom-client';
import { askedGauge, secondsBuckets } from './buckets.ts';

/** How far an endpoint is behind, by the lanes that this process runs. */
export type Lag = { readonly endpointId: string; readonly events: number; readonly oldestAtMs: number | null };

export class WebhookMetrics {
  readonly #registry: Registry;
  readonly #delivery;
  readonly attempts;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#registry = registry;
    this.attempts = new Counter({
      name: 'willow_webhook_attempts_total',
      help: 'Webhook requests, by outcome (delivered, refused, gone, failed).',
      labelNames: ['outcome'],
      registers,
    });
    this.#delivery = new Histogram({
      name: 'willow_webhook_delivery_seconds',
      help: 'From the time of an event to the 2xx of its receiver.',
      buckets: [...secondsBuckets, 60, 600, 3_600, 86_400],
      registers,
    });
  }

  /** How long each event took, in ms. */
  delivered(tookMs: readonly number[]): void {
    for (const ms of tookMs) this.#delivery.observe(ms / 1000);
  }

  /** `lags` is asked whenever the metrics are. */
  watchLanes(lags: () => readonly Lag[], nowMs: () => number): void {
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
      lag.oldestAtMs === null ? 0 : Math.max(0, nowMs() - lag.oldestAtMs) / 1000,
    );
  }
}
