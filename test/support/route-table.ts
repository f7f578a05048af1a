// Every route that the API serves, with the schemas of what it takes, as the framework announces them.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { pino } from 'pino';
import type { z } from 'zod';
import { createHttpServer, type HttpDeps } from '../../src/http/server.ts';

type Part = 'params' | 'querystring' | 'body' | 'headers';

export type Route = {
  readonly method: string;
  readonly url: string;
  readonly scope: string | undefined;
  readonly schema: Readonly<Partial<Record<Part, z.ZodType>>>;
};

/** The routes of the instance that `create` makes. */
export function withRoutes<App>(create: () => App): { readonly app: App; readonly routes: readonly Route[] } {
  const routes: Route[] = [];
  const onInstance = (message: unknown): void => {
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', (route: RouteOptions) => {
      const { method, url, config, schema } = route;
      routes.push({ method: String(method), url, scope: config?.scope, schema: (schema ?? {}) as Route['schema'] });
    });
  };
  subscribe('fastify.initialization', onInstance);
  try {
    return { app: create(), routes };
  } finally {
    unsubscribe('fastify.initialization', onInstance);
  }
}

/** Of a server that is never called: nobody has to say what its ports are. */
export function allRoutes(): readonly Route[] {
  const port: unknown = new Proxy(() => null, { get: () => port });
  const known = { hasApi: true, apiKey: null, allowedOrigins: [], logger: pino({ level: 'silent' }), limits: {} };
  const ports = new Proxy({}, { get: () => port });
  const deps = Object.assign(Object.create(ports) as object, known);
  return withRoutes(() => createHttpServer(deps as unknown as HttpDeps)).routes;
}
