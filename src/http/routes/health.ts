// Alive, and ready: two questions that whoever runs the process asks. Open, because the one who asks has no key.

import { getHealth, getReadiness } from '../answers/health.ts';
import type { HttpServer } from '../instance.ts';
import { ProblemError } from '../problems.ts';
import { shared } from '../shared.ts';

export type Readiness = {
  readonly isReady: boolean;
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly [field: string]: unknown }>>;
};
export type ReadyPort = () => Promise<Readiness>;

export function healthRoutes(app: HttpServer, ready: ReadyPort): void {
  app.get('/healthz', { config: { scope: 'open', operation: getHealth, isVital: true } }, () => ({ status: 'ok' }));

  const askedAtOnce = shared(ready, 0);
  app.get('/readyz', { config: { scope: 'open', operation: getReadiness, isVital: true } }, async () => {
    const { isReady, checks } = await askedAtOnce();
    if (!isReady) throw new ProblemError({ type: 'not-ready', extensions: { checks } });
    return { status: 'ready', checks };
  });
}
