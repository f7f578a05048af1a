// The Fastify instance that the routes are added to: its types, what each route must say about itself, and what it may ask of a request.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

export type HttpServer = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypeProvider>;

/** What a caller may do: the closed list that API keys are made of. */
export const scopes = [
  'presence:read',
  'sessions:write',
  'events:read',
  'webhooks:admin',
  'quarantine:admin',
  'metrics:read',
  'keys:admin',
] as const;
export type Scope = (typeof scopes)[number];

/** A stored key, the key of the setting API_KEY, or somebody on this machine, where no key is needed. */
export type Caller =
  | { readonly kind: 'key'; readonly id: string; readonly name: string }
  | { readonly kind: 'api-key-setting' }
  | { readonly kind: 'loopback' };

/** Ids of keys are hexadecimal: none is the name of a kind. */
export function callerName(caller: Caller): string {
  return caller.kind === 'key' ? caller.id : caller.kind;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route; `open` is everybody. A route that does not say fails the start. */
    scope?: Scope | 'open';
  }
  interface FastifyRequest {
    /** Who calls; null on open routes, where nobody asks. */
    caller: Caller | null;
  }
}
