// What is told of the process: Node's own numbers, which version this is, how busy its one thread is, and whether its parts are well.

import { performance } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client';
import { version } from '../runtime/version.ts';
import { askedGauge } from './buckets.ts';

/** What readiness rests on. */
export type Checks = Readonly<Record<string, { readonly ok: boolean }>>;

/** Gauges with the name of a counter; each is the sum of another one over its types. */
const misnamed = ['nodejs_active_resources_total', 'nodejs_active_handles_total', 'nodejs_active_requests_total'];

export class ProcessMetrics {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#registry = registry;
    collectDefaultMetrics({ register: registry });
    for (const name of misnamed) registry.removeSingleMetric(name);
    new Gauge({
      name: 'willow_build_info',
      help: '1, with the version of Willow.',
      labelNames: ['version'],
      registers,
    }).set({ version }, 1);
    // Unlike a gauge of the lag it means the same to any number of scrapers, however often they ask.
    new Counter({
      name: 'willow_event_loop_active_seconds_total',
      help: 'How long the event loop had something to do, rather than waiting for it.',
      registers,
      collect() {
        this.reset();
        this.inc(performance.eventLoopUtilization().active / 1_000);
      },
    });
  }

  /** `checks` is asked whenever the metrics are. */
  showHealth(checks: () => Checks): void {
    askedGauge(
      this.#registry,
      {
        name: 'willow_check_ok',
        help: '1 while a check of the readiness of this process succeeds; ready is where all of them do.',
        labelNames: ['check'],
      },
      () => Object.entries(checks()).map(([check, { ok }]) => ({ labels: { check }, value: Number(ok) })),
    );
  }
}
