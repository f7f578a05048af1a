// What is told of the pools of connections to PostgreSQL. Each serves work of its own, so each is told by itself.

import type { Registry } from 'prom-client';
import { askedGauge } from './buckets.ts';

/** As a pool of node-postgres tells it. */
export type Pool = {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  readonly options: { readonly max: number };
};

export class DatabaseMetrics {
  readonly #pools = new Map<string, Pool>();

  constructor(registry: Registry) {
    const pools = this.#pools;
    askedGauge(
      registry,
      {
        name: 'willow_database_connections',
        help: 'Open connections to the database, by pool and by state (in_use, idle).',
        labelNames: ['pool', 'state'],
      },
      () =>
        [...pools].flatMap(([pool, { totalCount, idleCount }]) => [
          { labels: { pool, state: 'in_use' }, value: totalCount - idleCount },
          { labels: { pool, state: 'idle' }, value: idleCount },
        ]),
    );
    const gauge = (name: string, help: string, valueOf: (pool: Pool) => number) =>
      askedGauge(registry, { name, help, labelNames: ['pool'] }, () =>
        [...pools].map(([pool, found]) => ({ labels: { pool }, value: valueOf(found) })),
      );
    gauge(
      'willow_database_connections_max',
      'How many connections a pool opens at most.',
      ({ options }) => options.max,
    );
    gauge(
      'willow_database_waiting',
      'Statements and transactions that wait for a connection of the pool.',
      ({ waitingCount }) => waitingCount,
    );
  }

  watch(name: 'ingest' | 'api' | 'retention' | 'webhooks', pool: Pool): void {
    this.#pools.set(name, pool);
  }
}
