// What is counted of HTTP. A request costs an addition and a comparison or a few in an array of its route: the library is asked at the
// scrape, because looking up its labels takes longer than answering takes altogether. What a framework never sees is in `refused` alone.

import { Histogram, type HistogramConfiguration, type Registry } from 'prom-client';
import type { Refused } from '../http/server.ts';
import type { Tally } from '../http/tally.ts';
import { bornCounter, membersOf } from './born.ts';
import { askedValue, secondsBuckets } from './buckets.ts';

type Cell = {
  readonly labels: Readonly<Record<string, string>>;
  readonly counts: number[];
  count: number;
  sumMs: number;
};

const boundsMs = secondsBuckets.map((bound) => bound * 1_000);
const refusals = membersOf<Refused>({
  overloaded: true,
  'too-many-requests': true,
  'wrong-keys': true,
  bodies: true,
  'no-room': true,
  'gave-way': true,
  unread: true,
  'no-turn': true,
});
const statuses = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;

export class HttpMetrics {
  readonly refused;
  readonly #registry: Registry;
  readonly #cells: Cell[] = [];

  constructor(registry: Registry) {
    this.#registry = registry;
    this.refused = bornCounter(
      {
        name: 'willow_http_refused_total',
        help: 'Requests and connections refused because there were too many, by why.',
        labelNames: ['why'],
        registers: [registry],
      },
      refusals.map((why) => ({ why })),
    );
    const requests = {
      name: 'willow_http_request_seconds',
      help: 'From the head of a request to its answer, by method, route and class of status.',
      labelNames: ['method', 'route', 'status'] as const,
    };
    registry.registerMetric(new KeptElsewhere({ ...requests, registers: [] }, this.#cells));
  }

  /** `waiting` is asked whenever the metrics are. */
  watchWaiting(waiting: () => number): void {
    const help = 'Reads of many, or of the past, that wait for their turn.';
    askedValue(this.#registry, 'willow_http_waiting', help, waiting);
  }

  tallyOf(method: string, route: string): Tally {
    const cells = statuses.map((status): Cell => {
      return { labels: { method, route, status }, counts: boundsMs.map(() => 0), count: 0, sumMs: 0 };
    });
    this.#cells.push(...cells);
    return (status, tookMs) => {
      const cell = cells[Math.floor(status / 100) - 1];
      if (cell === undefined) return;
      cell.count += 1;
      cell.sumMs += tookMs;
      // Nearly all are in one of the first.
      for (let index = 0; index < boundsMs.length; index += 1) {
        if (tookMs <= (boundsMs[index] as number)) {
          cell.counts[index] = (cell.counts[index] as number) + 1;
          return;
        }
      }
    };
  }
}

/** A histogram that is put together when it is asked for. */
class KeptElsewhere extends Histogram {
  readonly #config: HistogramConfiguration<string>;
  readonly #cells: readonly Cell[];

  constructor(config: HistogramConfiguration<string>, cells: readonly Cell[]) {
    super(config);
    this.#config = config;
    this.#cells = cells;
  }

  override async get(): ReturnType<Histogram['get']> {
    const { name, help } = this.#config;
    const values = this.#cells.filter(({ count }) => count > 0).flatMap((cell) => valuesOf(name, cell));
    const shape: unknown = { name, help, values, type: 'histogram', aggregator: 'sum' };
    return shape as Awaited<ReturnType<Histogram['get']>>;
  }

  /** What the registry asks for its text. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get();
  }
}

function valuesOf(name: string, { labels, counts, count, sumMs }: Cell) {
  let below = 0;
  const buckets = counts.map((inBucket, index) => {
    below += inBucket;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: secondsBuckets[index] as number }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels, value: sumMs / 1_000 },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
