// How a route describes itself: `config: { scope, operation }` beside the schemas that validate what it takes. The operations stand in
// answers/, one file for each subject, next to the schemas of what they answer; those are for the documents and the tests, and nothing is
// serialised by them. A schema that is `.register(named, { id })` becomes a component. Every parameter and every field has a description.
// What any call may be answered (no key, a bad parameter, too much to do) is added by what the route takes: see responses.ts.

import { z } from 'zod';
import type { ProblemType } from '../problems.ts';

/** The schemas of answers that have a name among the components of the document. */
export const named = z.registry<{ readonly id: string }>();

export const tags = {
  presence: 'Who is online.',
  sessions: 'The logins of a user: listed, prepared and ended.',
  events: 'What happened, in order.',
  webhooks: 'Backends that are told what happens.',
  keys: 'API keys, and who did what with them.',
  quarantine: 'Messages that could not be understood.',
  operation: 'For whoever runs the process.',
} as const;
export type Tag = keyof typeof tags;

/** Of answers that are what was asked for; those of problems follow from their type. */
export type HeaderName = 'Content-Security-Policy' | 'ETag' | 'Location' | 'Max-Age' | 'No-Store' | 'X-Accel-Buffering';

/** Headers that a call reads as they come, and that no schema validates. */
export type RequestHeaderName = 'If-None-Match';

export type Answer = {
  /** A sentence. */
  readonly description: string;
  /** Named. Left out: the answer has no body. */
  readonly schema?: z.ZodType;
  /** application/json unless said. */
  readonly contentType?: string;
  readonly headers?: readonly HeaderName[];
  readonly example?: unknown;
};

export type Operation = {
  /** camelCase, and for ever: generated clients name their functions by it. */
  readonly id: string;
  readonly tag: Tag;
  /** A few words. */
  readonly summary: string;
  /** A sentence or more. */
  readonly description: string;
  readonly requestHeaders?: readonly RequestHeaderName[];
  /** By their status. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** That this call has, and not every call like it. */
  readonly problems?: readonly ProblemType[];
  /** The name of the body that it takes, among the components. */
  readonly body?: { readonly name: string; readonly description: string; readonly example: unknown };
};

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the documents say of the route. */
    operation?: Operation;
  }
}

/** The page of a list: `data`, and how to get the next one. */
export function pageOf<Item extends z.ZodType>(item: Item, id: string) {
  return z
    .object({
      data: z.array(item).describe('The items of this page.'),
      nextCursor: z.string().nullable().describe('Handed back as `cursor` for the next page; null at the end.'),
    })
    .register(named, { id });
}
