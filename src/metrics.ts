// What is counted, by Prometheus convention. Every message that was heard ends in exactly one cell of `willow_signals_total` or
// `willow_quarantined_total` (I10).

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Settled } from './ingest/ingest.ts';

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const messagesBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500];

/** How far an endpoint is behind, by the lanes that this process runs. */
export type Lag = { readonly endpointId: string; readonly events: number; readonly oldestAtMs: number | null };

export type LinkGauges = { readonly isLinkUp: boolean; readonly isLeaseHeld: boolean };

export class Metrics {
  readonly registry = new Registry();
  readonly #registers = [this.registry];
  readonly #messages = new Counter({
    name: 'willow_messages_total',
    help: 'Messages settled, whatever their outcome.',
    registers: this.#registers,
  });
  readonly #signals = new Counter({
    name: 'willow_signals_total',
    help: 'Messages that were understood, by kind (login, will, logout, retained) and outcome (applied, repeat, stale, retained).',
    labelNames: ['kind', 'outcome'] as const,
    registers: this.#registers,
  });
  readonly #quarantined = new Counter({
    name: 'willow_quarantined_total',
    help: 'Messages that could not be understood, by reason.',
    labelNames: ['reason'] as const,
    registers: this.#registers,
  });
  readonly trimmed = new Counter({
    name: 'willow_quarantine_trimmed_total',
    help: 'Quarantined messages removed because newer ones needed the room.',
    registers: this.#registers,
  });
  readonly events = new Counter({
    name: 'willow_events_total',
    help: 'Events committed to the log, by type.',
    labelNames: ['type'] as const,
    registers: this.#registers,
  });
  readonly #batch = new Histogram({
    name: 'willow_batch_messages',
    help: 'Messages in a batch.',
    buckets: messagesBuckets,
    registers: this.#registers,
  });
  readonly #settle = new Histogram({
    name: 'willow_settle_seconds',
    help: 'From the receipt of the oldest message of a batch to its acknowledgement.',
    buckets: secondsBuckets,
    registers: this.#registers,
  });
  readonly commit = new Histogram({
    name: 'willow_commit_seconds',
    help: 'To read, decide and commit a batch, with its wait for the one before and its attempts after conflicts.',
    buckets: secondsBuckets,
    registers: this.#registers,
  });

  readonly attempts = new Counter({
    name: 'willow_webhook_attempts_total',
    help: 'Webhook requests, by outcome (delivered, refused, gone, failed).',
    labelNames: ['outcome'] as const,
    registers: this.#registers,
  });
  readonly #delivery = new Histogram({
    name: 'willow_webhook_delivery_seconds',
    help: 'From the time of an event to the 2xx of its receiver.',
    buckets: [...secondsBuckets, 60, 600, 3_600, 86_400],
    registers: this.#registers,
  });

  readonly refused = new Counter({
    name: 'willow_http_refused_total',
    help: 'Requests and connections refused because there were too many, by why.',
    labelNames: ['why'] as const,
    registers: this.#registers,
  });

  /** `link` is asked whenever the metrics are. */
  constructor(link: () => LinkGauges) {
    const { registry } = this;
    const registers = [registry];
    collectDefaultMetrics({ register: registry });
    const gauge = (name: string, help: string, isOn: () => boolean) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(isOn() ? 1 : 0);
        },
      });
    gauge('willow_link_up', '1 while this process is connected to the broker.', () => link().isLinkUp);
    gauge('willow_lease_held', '1 while this process holds the ingest lease.', () => link().isLeaseHeld);
  }

  /** `lags` is asked whenever the metrics are. */
  watchLanes(lags: () => readonly Lag[], nowMs: () => number): void {
    const registers = this.#registers;
    const gauge = (name: string, help: string, valueOf: (lag: Lag) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ['endpoint'] as const,
        registers,
        collect() {
          this.reset();
          for (const lag of lags()) this.set({ endpoint: lag.endpointId }, valueOf(lag));
        },
      });
    gauge(
      'willow_webhook_lag_events',
      'Events of the log that the slowest lane of an endpoint has not passed.',
      (lag) => lag.events,
    );
    gauge('willow_webhook_lag_seconds', 'The age of the oldest event that is being delivered to an endpoint.', (lag) =>
      lag.oldestAtMs === null ? 0 : Math.max(0, nowMs() - lag.oldestAtMs) / 1000,
    );
  }

  /** How long each event took, in ms. */
  delivered(tookMs: readonly number[]): void {
    for (const ms of tookMs) this.#delivery.observe(ms / 1000);
  }

  settled(all: readonly Settled[], settleMs: number): void {
    this.#messages.inc(all.length);
    this.#batch.observe(all.length);
    this.#settle.observe(settleMs / 1000);
    for (const settled of all) {
      if (settled.kind === 'quarantined') this.#quarantined.inc({ reason: settled.reason });
      else if (settled.kind === 'retained') this.#signals.inc({ kind: 'retained', outcome: 'retained' });
      else this.#signals.inc({ kind: settled.kind, outcome: settled.outcome });
    }
  }
}
