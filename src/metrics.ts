// What this process tells Prometheus: one registry, and what belongs to each part of it. Names and units are Prometheus' own conventions, and
// no label has a value for each user or session.

import { collectDefaultMetrics, Registry } from 'prom-client';
import { HttpMetrics } from './metrics/http.ts';
import { IngestMetrics, type LinkGauges } from './metrics/ingest.ts';
import { WebhookMetrics } from './metrics/webhooks.ts';

/** Gauges with the name of a counter; each is the sum of another one over its types. */
const misnamed = ['nodejs_active_resources_total', 'nodejs_active_handles_total', 'nodejs_active_requests_total'];

export class Metrics {
  readonly registry = new Registry();
  readonly ingest: IngestMetrics;
  readonly webhooks: WebhookMetrics;
  readonly http: HttpMetrics;

  /** `link` is asked whenever the metrics are. */
  constructor(link: () => LinkGauges) {
    const { registry } = this;
    collectDefaultMetrics({ register: registry });
    for (const name of misnamed) registry.removeSingleMetric(name);
    this.ingest = new IngestMetrics(registry, link);
    this.webhooks = new WebhookMetrics(registry);
    this.http = new HttpMetrics(registry);
  }
}
