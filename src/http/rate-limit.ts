// How often a caller may call. Every answer to a caller says how much is left (draft-ietf-httpapi-ratelimit-headers-10: one short
// header, the policy only where it was exceeded); whoever takes more is told when to come back. Counted in this process alone: two
// of them grant twice as much. Not @fastify/rate-limit: its promise for each request costs a fifth of a bare one.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { callerOf } from './auth.ts';
import { callerName, type HttpServer } from './instance.ts';
import type { HttpLimits } from './limits.ts';
import { sendProblem } from './problems.ts';
import { Quota, type Taken } from './quota.ts';

type ShareLimits = Pick<HttpLimits, 'callerRequestsMax' | 'callerWindowMs'>;

export type RateLimitDeps = {
  readonly limits: ShareLimits;
  /** What each caller has taken. */
  readonly quota: Quota;
  readonly onRefused: () => void;
};

export function callerQuota(limits: ShareLimits): Quota {
  return new Quota({ max: limits.callerRequestsMax, windowMs: limits.callerWindowMs });
}

/** What is left, as every answer to a caller says it. */
export function rateLimitOf({ remaining, resetSeconds }: Taken): string {
  return `"caller";r=${remaining};t=${resetSeconds}`;
}

/** For the routes that are added after this call, behind whatever guards them. */
export function limitCallers(app: HttpServer, { limits, quota, onRefused }: RateLimitDeps): void {
  const max = limits.callerRequestsMax;
  const policy = `"caller";q=${max};w=${Math.ceil(limits.callerWindowMs / 1_000)}`;
  const detail = `at most ${max} requests in ${limits.callerWindowMs} ms`;
  // No plugin and no promise: on the most read route both are felt.
  const take = (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    const taken = quota.take(callerName(callerOf(request)), performance.now());
    reply.header('ratelimit', rateLimitOf(taken));
    if (!taken.isOver) return done();
    onRefused();
    const headers = { 'retry-after': String(taken.resetSeconds), 'ratelimit-policy': policy };
    sendProblem(reply, { type: 'too-many-requests', detail, headers });
  };
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === 'open') return;
    route.onRequest = [...[route.onRequest ?? []].flat(), take];
  });
}
