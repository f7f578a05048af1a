// What this process tells Prometheus: one registry, and what belongs to each part of it. Names and units are Prometheus' own conventions, and
// no label has a value for each user or session.

import { Registry } from 'prom-client';
import { DatabaseMetrics } from './metrics/database.ts';
import { HttpMetrics } from './metrics/http.ts';
import { IngestMetrics } from './metrics/ingest.ts';
import { type LinkGauges, LinkMetrics } from './metrics/link.ts';
import { PresenceMetrics } from './metrics/presence.ts';
import { ProcessMetrics } from './metrics/process.ts';
import { RetentionMetrics } from './metrics/retention.ts';
import { StreamMetrics } from './metrics/streams.ts';
import { WebhookMetrics } from './metrics/webhooks.ts';

export class Metrics {
  readonly registry = new Registry();
  readonly process: ProcessMetrics;
  readonly link: LinkMetrics;
  readonly ingest: IngestMetrics;
  readonly webhooks: WebhookMetrics;
  readonly http: HttpMetrics;
  readonly database: DatabaseMetrics;
  readonly retention: RetentionMetrics;
  readonly streams: StreamMetrics;
  readonly presence: PresenceMetrics;

  /** `link` is asked whenever the metrics are. */
  constructor(link: () => LinkGauges) {
    const { registry } = this;
    this.process = new ProcessMetrics(registry);
    this.link = new LinkMetrics(registry, link);
    this.ingest = new IngestMetrics(registry);
    this.webhooks = new WebhookMetrics(registry);
    this.http = new HttpMetrics(registry);
    this.database = new DatabaseMetrics(registry);
    this.retention = new RetentionMetrics(registry);
    this.streams = new StreamMetrics(registry);
    this.presence = new PresenceMetrics(registry);
  }
}
