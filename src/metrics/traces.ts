// What is counted of traces: what became of each span that was to be sent.

import type { Registry } from 'prom-client';
import type { SpanOutcome } from '../tracing/outlet.ts';
import { bornCounter, membersOf } from './born.ts';

const outcomes = membersOf<SpanOutcome>({ sent: true, failed: true, dropped: true });

export class TraceMetrics {
  readonly spans;

  constructor(registry: Registry) {
    this.spans = bornCounter(
      {
        name: 'willow_trace_spans_total',
        help: 'Spans for the collector of traces, by outcome (sent, failed, dropped).',
        labelNames: ['outcome'],
        registers: [registry],
      },
      outcomes.map((outcome) => ({ outcome })),
    );
  }
}
