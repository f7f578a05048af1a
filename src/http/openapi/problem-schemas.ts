// What each problem looks like: a schema and an example for every type of the table, so that a client that was generated can tell them
// apart by `type`. A type that is new does not compile before it has its example here.

import { z } from 'zod';
import { scopes } from '../instance.ts';
import { type ProblemType, problemTypes } from '../problems.ts';
import { named } from './operation.ts';

const InputErrors = z
  .array(
    z.object({
      in: z.enum(['path', 'query', 'header', 'body']).describe('Where it stands.'),
      name: z.string().describe('The parameter or field; empty where the body as a whole is meant.'),
      detail: z.string().describe('What is wrong with it.'),
    }),
  )
  .describe('Each parameter or field that is wrong.');

const after = z.int().min(0).describe('The position behind which the log begins.');
const head = z.int().min(0).describe('The position at which the log ends, where one behind it was asked for.');
const checks = z
  .record(z.string(), z.looseObject({ ok: z.boolean().describe('Whether this check is well.') }))
  .describe('What was checked, by its name.');

/** Members that a type has besides those that all have. */
const members: Partial<Record<ProblemType, z.ZodRawShape>> = {
  'bad-input': { errors: InputErrors, head: head.optional() },
  'bad-body': { errors: InputErrors },
  'missing-scope': { scope: z.enum(scopes).describe('The scope that the call needs.') },
  'webhook-left-behind': { after },
  'events-gone': {
    after: after.optional(),
    from: z.iso.datetime().optional().describe('The time from which on it can be asked what was.'),
  },
  'not-ready': { checks },
};

const limitDetail = 'must be a whole number from 1 to 1000';

type Example = { readonly detail?: string; readonly [member: string]: unknown };

const examples: Readonly<Record<ProblemType, Example>> = {
  'bad-request': { detail: 'the body is not valid JSON' },
  'bad-input': {
    detail: `the query parameter limit ${limitDetail}`,
    errors: [{ in: 'query', name: 'limit', detail: limitDetail }],
  },
  'bad-cursor': {
    detail: 'it was not given by this list, or not to this question: hand it back as it came, with the same parameters',
  },
  unauthorized: { detail: 'send an API key as "Authorization: Bearer <key>"' },
  'host-not-allowed': { detail: 'set API_KEY to serve other hosts than localhost, 127.0.0.1 and [::1]' },
  'origin-not-allowed': { detail: 'set API_KEY to serve pages that were loaded from elsewhere' },
  'missing-scope': { detail: 'this call needs a key with the scope presence:read', scope: 'presence:read' },
  'not-found': {},
  'unknown-session': {},
  'unknown-webhook': {},
  'unknown-parked': {},
  'unknown-key': {},
  'unknown-message': {},
  'method-not-allowed': {},
  'request-timeout': { detail: 'the headers arrive within 15000 ms, the whole request within 30000 ms' },
  'too-many-webhooks': { detail: 'at most 1000' },
  'too-many-keys': { detail: 'at most 1000' },
  'webhook-left-behind': { detail: 'the log begins after 118; replay from there, and then enable it', after: 118 },
  'events-gone': { detail: 'the log begins after 118', after: 118 },
  'body-too-large': { detail: 'a body has at most 65536 bytes here' },
  'url-too-long': { detail: 'a parameter of the path has at most 3072 characters, percent-encoded' },
  'unsupported-media-type': { detail: 'a body must be application/json' },
  'expectation-failed': { detail: 'only 100-continue is understood' },
  'bad-body': {
    detail: 'the field lanes must be a whole number from 1 to 64',
    errors: [{ in: 'body', name: 'lanes', detail: 'must be a whole number from 1 to 64' }],
  },
  'too-many-sessions': { detail: 'at most 10000 in one answer, those of repeated ids each time: ask for fewer ids' },
  'session-unheard': { detail: 'with these ids and this device a message could have 9143 bytes, and may have 4096' },
  'idempotency-key-reused': { detail: 'the first request with it asked for something else' },
  'too-many-requests': { detail: 'at most 1000000 requests in 60000 ms' },
  'too-many-streams': { detail: 'at most 2500 at once' },
  'headers-too-large': { detail: 'the request line and the headers have at most 16384 bytes' },
  internal: {},
  'no-secret-key': { detail: 'set SECRET_KEY where this process is started' },
  overloaded: { detail: 'there is too much to do right now' },
  'database-unavailable': { detail: 'try again in a few seconds' },
  'not-ready': { checks: { database: { ok: false }, keys: { ok: true, silenceMs: 159 } } },
};

export type DocumentedProblem = { readonly name: string; readonly schema: z.ZodObject; readonly example: unknown };

export const problemSchemas = Object.fromEntries(
  (Object.keys(problemTypes) as ProblemType[]).map((type) => [type, documented(type)]),
) as Readonly<Record<ProblemType, DocumentedProblem>>;

function documented(type: ProblemType): DocumentedProblem {
  const { status, title } = problemTypes[type];
  const urn = `urn:willow:problem:${type}`;
  const name = pascalCase(type);
  const schema = z
    .object({
      type: z.literal(urn).describe('Which problem it is: stable, for programs to look at.'),
      title: z.string().describe('The same in words.'),
      status: z.literal(status).describe('The status of the answer.'),
      detail: z.string().optional().describe('More, where there is more to say.'),
      ...members[type],
    })
    .register(named, { id: `${name}Problem` });
  return { name, schema, example: { type: urn, title, status, ...examples[type] } };
}

function pascalCase(type: string): string {
  return type.replaceAll(/(?:^|-)(\w)/gu, (_whole, letter: string) => letter.toUpperCase());
}
