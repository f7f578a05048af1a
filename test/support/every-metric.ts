// Every metric that a process of all roles has, without the process.

import { Metrics } from '../../src/metrics.ts';

export type MetricShape = { readonly name: string; readonly type: string; readonly labels: readonly string[] };

export async function everyMetric(): Promise<readonly MetricShape[]> {
  const metrics = new Metrics(() => ({ isLinkUp: true, isLeaseHeld: true, pendingMs: 0 }));
  metrics.webhooks.watchLanes({ lags: () => [], count: () => 0 }, Date.now);
  metrics.http.watchWaiting(() => 0);
  metrics.watchHealth(async () => ({}));
  metrics.retention.watchLog(() => ({ oldestAtMs: null, keptMs: 0, isHeld: false }), Date.now);
  metrics.streams.watch(() => ({ events: 0, presence: 0, lagEvents: 0 }));
  metrics.watchPresence(async () => ({ online: 0, sessions: 0, lost: 0 }));
  const found = await metrics.registry.getMetricsAsJSON();
  return found.map(({ name, type }) => {
    const { labelNames = [] } = metrics.registry.getSingleMetric(name) as { readonly labelNames?: readonly string[] };
    return { name, type: String(type), labels: labelNames };
  });
}
