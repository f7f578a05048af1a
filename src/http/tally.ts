// How long each request took and how it ended, told to whoever counts, for each route by itself. It is felt on the most read route: one look at
// the clock when a request comes, one when its answer goes, and what is kept for a route hangs on the route.

import type { FastifyRequest } from 'fastify';
import type { HttpServer } from './instance.ts';

export type Tally = (status: number, tookMs: number) => void;
/** The one who counts for a route; `route` is its pattern, never an URL. */
export type TallyOf = (method: string, route: string) => Tally;

declare module 'fastify' {
  interface FastifyContextConfig {
    tally?: Tally;
  }
  interface FastifyRequest {
    startedAtMs: number;
  }
}

/** Who counts for a route is one and the same, whoever asks. */
export function oncePerRoute(tallyOf: TallyOf): TallyOf {
  const tallies = new Map<string, Tally>();
  return (method, route) => {
    const name = `${method} ${route}`;
    const tally = tallies.get(name) ?? tallyOf(method, route);
    tallies.set(name, tally);
    return tally;
  };
}

/** Of an answer that the framework does not send: told when its head goes. */
export function tallyHead(request: FastifyRequest, status: number): void {
  request.routeOptions.config.tally?.(status, performance.now() - request.startedAtMs);
}

/** For the routes that are added after this call. What no route answers is one route, whatever its method. */
export function tallyRequests(app: HttpServer, tallyOf: TallyOf): void {
  const unrouted = tallyOf('none', 'none');
  app.decorateRequest('startedAtMs', 0);
  app.addHook('onRoute', (route) => {
    route.config = { ...route.config, tally: tallyOf([route.method].flat().join(','), route.url) };
  });
  app.addHook('onRequest', (request, _reply, done) => {
    request.startedAtMs = performance.now();
    done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    const { startedAtMs } = request;
    // What the framework refuses by itself does not come by the other hook.
    const tookMs = startedAtMs === 0 ? 0 : performance.now() - startedAtMs;
    (request.routeOptions.config.tally ?? unrouted)(reply.statusCode, tookMs);
    done(null, payload);
  });
}
