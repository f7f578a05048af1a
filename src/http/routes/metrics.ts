// The numbers that a Prometheus server collects.

import { getMetrics } from '../answers/health.ts';
import type { HttpServer } from '../instance.ts';
import { shared } from '../shared.ts';

export type MetricsPort = () => Promise<{ readonly contentType: string; readonly body: string }>;

export function metricsRoutes(app: HttpServer, metrics: MetricsPort): void {
  const collected = shared(metrics, 2);
  app.get(
    '/metrics',
    { config: { scope: 'metrics:read', operation: getMetrics, isVital: true } },
    async (_request, reply) => {
      const { contentType, body } = await collected();
      return reply.header('content-type', contentType).send(body);
    },
  );
}
