// Which problem an error means: those of the framework, of validation, and of the ports behind the routes. What is not known
// here is a defect of ours: 500, without a word about the inside.

import type { FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import type { HttpServer } from './instance.ts';
import { parameterCharactersMax } from './parameters.ts';
import { type InputError, type Problem, ProblemError, typeOfStatus } from './problems.ts';

/** Errors of the framework that have more to say than their status. */
const frameworkDetails: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not valid JSON',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'a body must be application/json',
  FST_ERR_MAX_PARAM_LENGTH: `a parameter of the path has at most ${parameterCharactersMax} characters, percent-encoded`,
};

export type FailureContext = {
  /** Whether a port failed because the database is away. */
  readonly isUnavailable: (error: unknown) => boolean;
  /** What the route that was asked takes. */
  readonly bodyBytesMax: number;
};

export function problemOf(error: unknown, { isUnavailable, bodyBytesMax }: FailureContext): Problem {
  if (error instanceof ProblemError) return error.problem;
  if (hasZodFastifySchemaValidationErrors(error)) {
    return error.validationContext === 'body' ? badBody(fieldErrorsOf(error)) : badInput(inputErrorsOf(error));
  }
  if (isUnavailable(error)) return { type: 'database-unavailable', detail: 'try again in a few seconds' };
  return frameworkProblem(error, bodyBytesMax) ?? { type: 'internal' };
}

export function badInput(errors: readonly InputError[]): Problem {
  const sentences = errors.map(({ in: place, name, detail }) => `the ${place} parameter ${name} ${detail}`);
  return { type: 'bad-input', detail: sentences.join('; '), errors };
}

/** JSON, as its type says, but not what was to be sent. A name is empty where the body as a whole is meant. */
export function badBody(errors: readonly Omit<InputError, 'in'>[]): Problem {
  const sentences = errors.map(({ name, detail }) =>
    name === '' ? `the body ${detail}` : `the field ${name} ${detail}`,
  );
  return { type: 'bad-body', detail: sentences.join('; '), errors: errors.map((error) => ({ in: 'body', ...error })) };
}

const places = { params: 'path', querystring: 'query', headers: 'header' } as const;

type ValidationError = {
  readonly validation: readonly {
    readonly instancePath: string;
    readonly message?: string | undefined;
    readonly params?: unknown;
  }[];
  readonly validationContext?: string;
};

function inputErrorsOf(error: ValidationError): InputError[] {
  const place = places[error.validationContext as keyof typeof places];
  return fieldErrorsOf(error).map((field) => ({ in: place, ...field }));
}

/** Of the mistakes in a request, so many are told. */
const shownMax = { names: 10, characters: 64 };

/** What nobody asked for is named, as what is wrong is. */
function fieldErrorsOf({ validation }: ValidationError): Omit<InputError, 'in'>[] {
  return validation
    .flatMap(({ instancePath, message, params }) => {
      const name = instancePath.slice(1);
      // Zod tells unknown names at the object that has them.
      const unknown = params instanceof Object && 'keys' in params && Array.isArray(params.keys) ? params.keys : null;
      if (unknown === null) return [{ name, detail: message ?? 'is not valid' }];
      return unknown.map((key) => ({ name: String(key).slice(0, shownMax.characters), detail: 'is not known' }));
    })
    .slice(0, shownMax.names);
}

/** Only the framework's own errors are taken at their word: a status on any other error is none of the caller's. */
function frameworkProblem(error: unknown, bodyBytesMax: number): Problem | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  if (!error.code.startsWith('FST_') || !('statusCode' in error)) return undefined;
  const type = typeOfStatus(Number(error.statusCode));
  if (type === undefined || type === 'internal') return undefined;
  if (type === 'body-too-large') return { type, detail: `a body has at most ${bodyBytesMax} bytes here` };
  const detail = frameworkDetails[error.code];
  return detail === undefined ? { type } : { type, detail };
}

/** Nothing that any route would match as it stands. */
const marker = '\u0000';

/** Names the parameter of a URL that cannot be decoded. */
export function malformedUrl(app: HttpServer, request: FastifyRequest): Problem {
  const [path = ''] = request.raw.url?.split('?') ?? [];
  const marked = path.split('/').map((segment) => (isDecodable(segment) ? segment : marker));
  const route = app.findRoute({ method: request.method, url: marked.join('/') });
  const malformed = Object.entries(route?.params ?? {}).filter(([, value]) => value === marker);
  if (malformed.length === 0) return { type: 'bad-request', detail: 'the URL is not percent-encoded UTF-8' };
  return badInput(malformed.map(([name]) => ({ in: 'path', name, detail: 'is not percent-encoded UTF-8' })));
}

function isDecodable(segment: string): boolean {
  try {
    decodeURIComponent(segment);
    return true;
  } catch {
    return false;
  }
}
