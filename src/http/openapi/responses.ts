// What a route may be answered, by status: what its operation says, and the problems that follow from what it takes and whom it lets in.
// The same problems are the same component, wherever they stand.

import { type ProblemType, problemTypes } from '../problems.ts';
import type { Operation } from './operation.ts';
import { named } from './operation.ts';
import { problemSchemas } from './problem-schemas.ts';

export type Json = { readonly [key: string]: unknown };

/** As far as what it is answered depends on it. */
export type Taken = {
  readonly method: string;
  readonly scope: string;
  readonly hasParameters: boolean;
  readonly hasCursor: boolean;
  readonly hasBody: boolean;
};

/** Of requests that find no operation, or that no operation sees. */
const anywhere: readonly ProblemType[] = [
  'not-found',
  'method-not-allowed',
  'request-timeout',
  'url-too-long',
  'expectation-failed',
  'headers-too-large',
];

export const anyProblem = 'AnyOtherProblem';

export function problemsOf(operation: Operation, taken: Taken): readonly ProblemType[] {
  const isOpen = taken.scope === 'open';
  return [
    'bad-request',
    ...(taken.hasParameters ? (['bad-input'] as const) : []),
    ...(taken.hasCursor ? (['bad-cursor'] as const) : []),
    ...(isOpen ? [] : (['unauthorized', 'missing-scope'] as const)),
    'host-not-allowed',
    'origin-not-allowed',
    ...(taken.method === 'get' ? [] : (['body-too-large', 'unsupported-media-type'] as const)),
    ...(taken.hasBody ? (['bad-body'] as const) : []),
    ...(isOpen ? [] : (['too-many-requests', 'database-unavailable'] as const)),
    'internal',
    'overloaded',
    ...(operation.problems ?? []),
  ];
}

/** Collects the components that it refers to. */
export class Responses {
  readonly components = new Map<string, Json>();

  constructor() {
    this.components.set(anyProblem, problemResponse(anywhere, false));
  }

  of(operation: Operation, taken: Taken): Json {
    const responses: Record<string, Json> = {};
    for (const [status, answer] of Object.entries(operation.answers)) {
      responses[status] = answerOf(answer, taken.scope !== 'open');
    }
    const byStatus = Map.groupBy(problemsOf(operation, taken), (type) => problemTypes[type].status);
    for (const [status, types] of [...byStatus].toSorted(([one], [other]) => one - other)) {
      const isCounted = taken.scope !== 'open' && !isRefusedUnseen(status);
      const isOpenly = taken.scope === 'open' && !isRefusedUnseen(status);
      const names = [...new Set(types)].map((type) => problemSchemas[type].name).join('Or');
      const name = isOpenly ? `Open${names}` : names;
      this.components.set(name, problemResponse(types, isCounted));
      responses[status] = { $ref: `#/components/responses/${name}` };
    }
    return { ...responses, default: { $ref: `#/components/responses/${anyProblem}` } };
  }
}

function answerOf(answer: Operation['answers'][number], isCounted: boolean): Json {
  const { description, schema, contentType = 'application/json', headers = [], example } = answer;
  const all = [...headers, ...(isCounted ? ['RateLimit'] : [])];
  const id = schema === undefined ? undefined : named.get(schema)?.id;
  if (schema !== undefined && id === undefined) throw new Error(`the schema of an answer has no name: ${description}`);
  const media = { schema: { $ref: `#/components/schemas/${id}` }, ...(example !== undefined && { example }) };
  return {
    description,
    ...(all.length > 0 && { headers: headerRefs(all) }),
    ...(id !== undefined && { content: { [contentType]: media } }),
  };
}

/** Before it is known who calls, nothing is counted. */
function isRefusedUnseen(status: number): boolean {
  return status === 401 || status === 403;
}

/** Statuses that come with headers of their own. */
const headersOfStatus: Readonly<Record<number, readonly string[]>> = {
  401: ['WWW-Authenticate'],
  403: ['WWW-Authenticate'],
  429: ['Retry-After', 'RateLimit-Policy'],
  503: ['Retry-After'],
};

function problemResponse(types: readonly ProblemType[], isCounted: boolean): Json {
  const unique = [...new Set(types)];
  const headers = new Set(unique.flatMap((type) => headersOfStatus[problemTypes[type].status] ?? []));
  if (unique.includes('method-not-allowed')) headers.add('Allow');
  if (isCounted) headers.add('RateLimit');
  const refs = unique.map((type) => ({ $ref: `#/components/schemas/${problemSchemas[type].name}Problem` }));
  const [first] = refs;
  const schema =
    refs.length === 1 ? first : { oneOf: refs, discriminator: { propertyName: 'type', mapping: mappingOf(unique) } };
  const examples = Object.fromEntries(unique.map((type) => [type, { value: problemSchemas[type].example }]));
  return {
    description: `${unique.map((type) => problemTypes[type].title).join('; or: ')}.`,
    ...(headers.size > 0 && { headers: headerRefs([...headers]) }),
    content: { 'application/problem+json': { schema, examples } },
  };
}

function mappingOf(types: readonly ProblemType[]): Json {
  return Object.fromEntries(
    types.map((type) => [`urn:willow:problem:${type}`, `#/components/schemas/${problemSchemas[type].name}Problem`]),
  );
}

function headerRefs(names: readonly string[]): Json {
  return Object.fromEntries(names.map((name) => [headerNames[name] ?? name, { $ref: `#/components/headers/${name}` }]));
}

const headerNames: Readonly<Record<string, string>> = { 'Max-Age': 'Cache-Control', 'No-Store': 'Cache-Control' };

const header = (description: string, example: string | number, type = 'string') => ({
  description,
  schema: { type },
  example,
});

export const headers: Readonly<Record<string, Json>> = {
  Allow: header('The methods that there are at this address.', 'GET, HEAD'),
  'Content-Security-Policy': header(
    'What the page may load: nothing from elsewhere.',
    "default-src 'none'; script-src 'self'",
  ),
  ETag: header(
    'Of everything in the answer but `asOf`: handed back as `If-None-Match`. The past, asked for with `at`, has none.',
    'W/"2-3f-7-mibjd400-mibk2tc0"',
  ),
  Location: header('Where what was made is found.', '/keys/1f0c8e5a9b3d7246'),
  'Max-Age': header('How long it may be kept.', 'public, max-age=3600'),
  'No-Store': header('That nobody keeps the answer: there is a secret in it, or it has no end.', 'no-store'),
  RateLimit: header('How many requests the caller has left, and for how many seconds.', '"caller";r=999998;t=47'),
  'RateLimit-Policy': header('How many requests a caller has in how many seconds.', '"caller";q=1000000;w=60'),
  'X-Accel-Buffering': header('That nginx passes on what comes, and collects nothing.', 'no'),
  'Retry-After': header('After how many seconds to try again.', 5, 'integer'),
  'WWW-Authenticate': header(
    'What is wrong with the key, as RFC 6750 has it.',
    'Bearer realm="willow", error="invalid_token"',
  ),
};
