// How often a caller may call. Every answer to a caller says how much is left (draft-ietf-httpapi-ratelimit-headers-10: one short
// header, the policy only where it was exceeded); whoever takes more is told when to come back. Counted in this process alone: two
// of them grant twice as much. Not @fastify/rate-limit: its promise for each request costs a fifth of a bare one.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { callerOf } from './auth.ts';
import { callerName, type HttpServer } from './instance.ts';
import type { HttpLimits } from './limits.ts';
import { sendProblem } from './problems.ts';
import { Quota } from './quota.ts';

export type RateLimitDeps = {
  readonly limits: Pick<HttpLimits, 'callerRequestsMax' | 'callerWindowMs'>;
  readonly onRefused: () => void;
};

/** For the routes that are added after this call, behind whatever guards them. */
export function limitCallers(app: HttpServer, { limits, onRefused }: RateLimitDeps): void {
  const max = limits.callerRequestsMax;
  const policy = `"caller";q=${max};w=${Math.ceil(limits.callerWindowMs / 1_000)}`;
  const detail = `at most ${max} requests in ${limits.callerWindowMs} ms`;
  const quota = new Quota({ max, windowMs: limits.callerWindowMs });
  // No plugin and no promise: on the most read route both are felt.
  const take = (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    const { isOver, remaining, resetSeconds } = quota.take(callerName(callerOf(request)), performance.now());
    reply.header('ratelimit', `"caller";r=${remaining};t=${resetSeconds}`);
    if (!isOver) return done();
    onRefused();
    const headers = { 'retry-after': String(resetSeconds), 'ratelimit-policy': policy };
    sendProblem(reply, { type: 'too-many-requests', detail, headers });
  };
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === 'open') return;
    route.onRequest = [...[route.onRequest ?? []].flat(), take];
  });
}
