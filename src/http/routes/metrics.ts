// The numbers that a Prometheus server collects.

import { getMetrics } from '../answers/health.ts';
import type { HttpServer } from '../instance.ts';
import { shared } from '../shared.ts';

export type MetricsPort = {
  /** Asks what has to be waited for. Never fails, and takes a bounded time. */
  readonly gather: () => Promise<void>;
  readonly render: () => Promise<{ readonly contentType: string; readonly body: string }>;
};

export function metricsRoutes(app: HttpServer, { gather, render }: MetricsPort): void {
  // To wait takes nothing of the process, to render does: that alone is not done again at once.
  const gathered = shared(gather, 0);
  const rendered = shared(render, 2);
  app.get(
    '/metrics',
    { config: { scope: 'metrics:read', operation: getMetrics, isVital: true } },
    async (_request, reply) => {
      await gathered();
      const { contentType, body } = await rendered();
      return reply.header('content-type', contentType).send(body);
    },
  );
}
