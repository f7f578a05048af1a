// Which web pages may call from a browser: those of the named origins, and nobody without a name. Preflights are answered here, because
// they come without a key. Written here and not taken from @fastify/cors, which adds a route for OPTIONS to every URL (so
// that what is nowhere turns from 404 into 405) and refuses in plain text.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

const allowedHeaders = 'Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID';
const exposedHeaders = 'ETag, Location, RateLimit, RateLimit-Policy, Retry-After';
/** As long as browsers keep it at most, Chromium's two hours. */
const maxAgeSeconds = 7_200;

/** What a request is told: nothing about origins, that its page may read the answer, or the whole answer to a preflight. */
export type Cors = {
  /** Of any answer to a page of this origin, or to nobody's page. */
  readonly headersFor: (origin: string | undefined) => Readonly<Record<string, string>>;
  readonly isPreflight: (request: FastifyRequest) => boolean;
};

export function namedOrigins(origins: readonly string[]): Cors | null {
  if (origins.length === 0) return null;
  const named = new Set(origins);
  const isNamed = (origin: string | undefined): origin is string => origin !== undefined && named.has(origin);
  return {
    headersFor: (origin) => ({
      // Also where no page is told anything: a cache must not hand that answer to a page of a named origin.
      vary: 'Origin',
      ...(isNamed(origin) && {
        'access-control-allow-origin': origin,
        'access-control-expose-headers': exposedHeaders,
      }),
    }),
    isPreflight: (request) =>
      request.method === 'OPTIONS' &&
      request.headers['access-control-request-method'] !== undefined &&
      isNamed(request.headers.origin),
  };
}

/** `methods` are those that the URL knows. */
export function answerPreflight(reply: FastifyReply, methods: readonly string[]): void {
  reply.headers({
    'access-control-allow-methods': methods.join(', '),
    'access-control-allow-headers': allowedHeaders,
    'access-control-max-age': maxAgeSeconds,
  });
  reply.code(204).send();
}

const originsMax = 100;

/** A list with commas in between, of origins exactly as browsers send them: they are compared as texts. */
export const Origins = z.string().transform((list, context) => {
  const origins = [...new Set(list.split(',').map((origin) => origin.trim()))];
  if (origins.length > originsMax) context.addIssue(`must name at most ${originsMax} origins`);
  for (const problem of new Set(origins.map(originProblem))) if (problem !== null) context.addIssue(problem);
  return origins;
});

function originProblem(text: string): string | null {
  if (text === '*') return 'must name each origin: * would let every page in';
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname.includes('*')) {
    return 'must be origins such as https://app.example.com, with commas in between';
  }
  return url.origin === text ? null : `must be scheme, host and port only, as browsers write them: ${url.origin}`;
}
