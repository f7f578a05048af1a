// What is told of the link to the broker: whether this process has it, and what became of it.

import { Counter, type Registry } from 'prom-client';
import { askedValue } from './buckets.ts';

export type LinkGauges = {
  readonly isLinkUp: boolean;
  readonly isLeaseHeld: boolean;
  /** Of the oldest message that is not settled yet; 0 when there is none. */
  readonly pendingMs: number;
};

export class LinkMetrics {
  readonly connections;
  readonly gaps;

  /** `link` is asked whenever the metrics are. */
  constructor(registry: Registry, link: () => LinkGauges) {
    const registers = [registry];
    this.connections = new Counter({
      name: 'willow_link_connections_total',
      help: 'Connections to the broker that came up.',
      registers,
    });
    this.gaps = new Counter({
      name: 'willow_link_gaps_total',
      help: 'Times that the broker came back without the session of Willow, so that wills may have been lost.',
      registers,
    });
    const gauge = (name: string, help: string, valueOf: () => number | boolean) =>
      askedValue(registry, name, help, () => Number(valueOf()));
    gauge('willow_link_up', '1 while this process is connected to the broker.', () => link().isLinkUp);
    gauge('willow_lease_held', '1 while this process holds the ingest lease.', () => link().isLeaseHeld);
    gauge(
      'willow_settling_age_seconds',
      'The age of the oldest message that is not settled yet; 0 while there is none.',
      () => link().pendingMs / 1_000,
    );
  }
}
