// What is counted of the broker's messages: every one that was heard ends in exactly one cell of `willow_signals_total` or
// `willow_quarantined_total` (I10), and of what becomes of them in the database.

import { Counter, Histogram, type Registry } from 'prom-client';
import type { Settled } from '../ingest/ingest.ts';
import { askedValue, secondsBuckets } from './buckets.ts';

const messagesBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500];

export type LinkGauges = { readonly isLinkUp: boolean; readonly isLeaseHeld: boolean };

export class IngestMetrics {
  readonly #messages;
  readonly #signals;
  readonly #quarantined;
  readonly #batch;
  readonly #settle;
  readonly trimmed;
  readonly events;
  readonly commit;

  /** `link` is asked whenever the metrics are. */
  constructor(registry: Registry, link: () => LinkGauges) {
    const registers = [registry];
    this.#messages = new Counter({
      name: 'willow_messages_total',
      help: 'Messages settled, whatever their outcome.',
      registers,
    });
    this.#signals = new Counter({
      name: 'willow_signals_total',
      help: 'Messages that were understood, by kind (login, will, logout, retained) and outcome (applied, repeat, stale, retained).',
      labelNames: ['kind', 'outcome'],
      registers,
    });
    this.#quarantined = new Counter({
      name: 'willow_quarantined_total',
      help: 'Messages that could not be understood, by reason.',
      labelNames: ['reason'],
      registers,
    });
    this.trimmed = new Counter({
      name: 'willow_quarantine_trimmed_total',
      help: 'Quarantined messages removed because newer ones needed the room.',
      registers,
    });
    this.events = new Counter({
      name: 'willow_events_total',
      help: 'Events committed to the log, by type.',
      labelNames: ['type'],
      registers,
    });
    this.#batch = new Histogram({
      name: 'willow_batch_messages',
      help: 'Messages in a batch.',
      buckets: messagesBuckets,
      registers,
    });
    this.#settle = new Histogram({
      name: 'willow_settle_seconds',
      help: 'From the receipt of the oldest message of a batch to its acknowledgement.',
      buckets: [...secondsBuckets],
      registers,
    });
    this.commit = new Histogram({
      name: 'willow_commit_seconds',
      help: 'To read, decide and commit a batch, with its wait for the one before and its attempts after conflicts.',
      buckets: [...secondsBuckets],
      registers,
    });
    const gauge = (name: string, help: string, isOn: () => boolean) =>
      askedValue(registry, name, help, () => Number(isOn()));
    gauge('willow_link_up', '1 while this process is connected to the broker.', () => link().isLinkUp);
    gauge('willow_lease_held', '1 while this process holds the ingest lease.', () => link().isLeaseHeld);
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
