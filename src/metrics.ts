// What this process tells Prometheus: one registry, and what belongs to each part of it. Names and units are Prometheus' own conventions, and
// no label has a value for each user or session.

import { Registry } from 'prom-client';
import { DatabaseMetrics } from './metrics/database.ts';
import { HttpMetrics } from './metrics/http.ts';
import { IngestMetrics } from './metrics/ingest.ts';
import { type LinkGauges, LinkMetrics } from './metrics/link.ts';
import { countsMsMax, type OnlineCounts, PresenceMetrics, within } from './metrics/presence.ts';
import { type Checks, ProcessMetrics } from './metrics/process.ts';
import { RetentionMetrics } from './metrics/retention.ts';
import { StreamMetrics } from './metrics/streams.ts';
import { TraceMetrics } from './metrics/traces.ts';
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
  readonly traces: TraceMetrics;

  readonly #gathering: (() => Promise<void>)[] = [];

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
    this.traces = new TraceMetrics(registry);
  }

  /** What has to be waited for is asked before the numbers are read, so that those are of the moment of the answer. */
  watchHealth(checks: () => Promise<Checks>): void {
    let latest: Checks = {};
    this.process.showHealth(() => latest);
    this.#gathering.push(async () => {
      latest = await checks();
    });
  }

  /** Counted in the database; while it does not answer in time there are none. */
  watchPresence(counts: () => Promise<OnlineCounts>): void {
    let latest: OnlineCounts | null = null;
    this.presence.show(() => latest);
    this.#gathering.push(async () => {
      latest = await within(counts(), countsMsMax).catch(() => null);
    });
  }

  /** Never fails: what cannot be had is as it was before. */
  async gather(): Promise<void> {
    await Promise.allSettled(this.#gathering.map((gathering) => gathering()));
  }
}
