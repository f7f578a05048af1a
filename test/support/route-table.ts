// Every route that the API serves, with the schemas of what it takes, as the framework announces them.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { FastifyInstance, RouteOptions } from 'fastify';
import type { z } from 'zod';
import { serverOfDocuments } from '../../docs/openapi.ts';

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

/** Of a server that is never called. */
export function allRoutes(): readonly Route[] {
  return withRoutes(serverOfDocuments).routes;
}
