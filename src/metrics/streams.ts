// What is counted of streams.

import { Counter, Gauge, type Registry } from 'prom-client';
import type { Closing } from '../http/stream.ts';
import { bornCounter, membersOf } from './born.ts';

const reasons = membersOf<Closing['reason']>({ slow: true, gone: true, ahead: true, key: true, shutdown: true });

export type StreamGauges = { readonly events: number; readonly presence: number; readonly lagEvents: number };

export class StreamMetrics {
  readonly sent;
  readonly dropped;
  readonly #registry: Registry;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#registry = registry;
    this.sent = new Counter({
      name: 'willow_stream_sent_total',
      help: 'Events written to streams, each as often as there are streams that were sent it.',
      registers,
    });
    this.dropped = bornCounter(
      {
        name: 'willow_stream_dropped_total',
        help: 'Streams that this process ended, by reason (slow, gone, ahead, key, shutdown).',
        labelNames: ['reason'],
        registers,
      },
      reasons.map((reason) => ({ reason })),
    );
  }

  /** `gauges` is asked whenever the metrics are. */
  watch(gauges: () => StreamGauges): void {
    const registers = [this.#registry];
    new Gauge({
      name: 'willow_stream_readers',
      help: 'Streams that are open, by what they tell.',
      labelNames: ['stream'],
      registers,
      collect() {
        const { events, presence } = gauges();
        this.set({ stream: 'events' }, events);
        this.set({ stream: 'presence' }, presence);
      },
    });
    new Gauge({
      name: 'willow_stream_lag_events',
      help: 'Positions of the log that the stream furthest behind has not passed.',
      registers,
      collect() {
        this.set(gauges().lagEvents);
      },
    });
  }
}
