// The Fastify instance that the routes are added to: its types, and what each route must say about itself.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

export type HttpServer = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypeProvider>;

/** What a caller may do: the closed list that API keys are made of. */
export type Scope =
  | 'presence:read'
  | 'sessions:write'
  | 'events:read'
  | 'webhooks:admin'
  | 'quarantine:admin'
  | 'metrics:read'
  | 'keys:admin';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route; `open` is everybody. A route that does not say fails the start. */
    scope?: Scope | 'open';
  }
}
