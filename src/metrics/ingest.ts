// What is counted of the broker's messages: every one that was heard ends in exactly one cell of `willow_signals_total` or
// `willow_quarantined_total` (I10), and of what becomes of them in the database.

import { Counter, Histogram, type Registry } from 'prom-client';
import type { Outcome } from '../core/decide.ts';
import { eventTypes } from '../core/session.ts';
import { type MessageSignal, quarantineReasons } from '../core/signal.ts';
import type { Settled } from '../ingest/ingest.ts';
import { bornCounter, membersOf } from './born.ts';
import { secondsBuckets } from './buckets.ts';

const kinds = membersOf<MessageSignal['kind']>({ login: true, will: true, logout: true });
const outcomes = membersOf<Outcome>({ applied: true, repeat: true, stale: true });
const retained = { kind: 'retained', outcome: 'retained' };
const signals = [...kinds.flatMap((kind) => outcomes.map((outcome) => ({ kind, outcome }))), retained];

const messagesBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500];

export class IngestMetrics {
  readonly #messages;
  readonly #signals;
  readonly #quarantined;
  readonly #batch;
  readonly #settle;
  readonly trimmed;
  readonly events;
  readonly commit;
  readonly conflicts;
  readonly retries;
  readonly swept;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    this.#messages = counter('willow_messages_total', 'Messages settled, whatever their outcome.');
    this.#signals = signalsOf(registers);
    this.#quarantined = quarantinedOf(registers);
    this.trimmed = counter(
      'willow_quarantine_trimmed_total',
      'Quarantined messages removed because newer ones needed the room.',
    );
    this.events = bornCounter(
      { name: 'willow_events_total', help: 'Events committed to the log, by type.', labelNames: ['type'], registers },
      eventTypes.map((type) => ({ type })),
    );
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
    this.conflicts = counter(
      'willow_commit_conflicts_total',
      'Batches decided again because somebody else had changed one of their users.',
    );
    this.retries = counter(
      'willow_commit_retries_total',
      'Steps of a batch done again because the database failed them.',
    );
    this.swept = counter(
      'willow_deadlines_swept_total',
      'Users for whom a deadline, of a grace or a lease, was found to be over.',
    );
  }

  /** `settleMs` is of two looks at a clock that may have been set meanwhile. */
  settled(all: readonly Settled[], settleMs: number): void {
    this.#messages.inc(all.length);
    this.#batch.observe(all.length);
    this.#settle.observe(Math.max(0, settleMs) / 1000);
    for (const settled of all) {
      if (settled.kind === 'quarantined') this.#quarantined.inc({ reason: settled.reason });
      else if (settled.kind === 'retained') this.#signals.inc(retained);
      else this.#signals.inc({ kind: settled.kind, outcome: settled.outcome });
    }
  }
}

function signalsOf(registers: Registry[]) {
  return bornCounter(
    {
      name: 'willow_signals_total',
      help: 'Messages that were understood, by kind (login, will, logout, retained) and outcome (applied, repeat, stale, retained).',
      labelNames: ['kind', 'outcome'],
      registers,
    },
    signals,
  );
}

function quarantinedOf(registers: Registry[]) {
  return bornCounter(
    {
      name: 'willow_quarantined_total',
      help: 'Messages that could not be understood, by reason.',
      labelNames: ['reason'],
      registers,
    },
    quarantineReasons.map((reason) => ({ reason })),
  );
}
