// Every answer that is not what was asked for, as RFC 9457 application/problem+json: one closed table, and the one way to
// send it, through Fastify or onto a bare socket. A problem tells the caller what to change, never what the inside looks like.

import { STATUS_CODES } from 'node:http';
import type { FastifyReply } from 'fastify';

export const problemTypes = {
  'bad-request': { status: 400, title: 'The request is malformed' },
  'bad-input': { status: 400, title: 'A parameter is not valid' },
  'bad-cursor': { status: 400, title: 'The cursor is not one of this list' },
  unauthorized: { status: 401, title: 'An API key is needed' },
  'host-not-allowed': { status: 403, title: 'Without an API key only loopback hosts are served' },
  'origin-not-allowed': { status: 403, title: 'Without an API key only pages of this machine are served' },
  'missing-scope': { status: 403, title: 'The API key does not have the scope' },
  'not-found': { status: 404, title: 'There is nothing at this address' },
  'unknown-session': { status: 404, title: 'The user has no such session' },
  'unknown-webhook': { status: 404, title: 'There is no such webhook' },
  'unknown-parked': { status: 404, title: 'The webhook has no such parked event' },
  'unknown-key': { status: 404, title: 'There is no such API key' },
  'unknown-message': { status: 404, title: 'There is no such message in the quarantine' },
  'method-not-allowed': { status: 405, title: 'The method is not allowed here' },
  'request-timeout': { status: 408, title: 'The request took too long to arrive' },
  'too-many-webhooks': { status: 409, title: 'There are as many webhooks as there may be' },
  'too-many-keys': { status: 409, title: 'There are as many API keys as there may be' },
  'webhook-left-behind': { status: 409, title: 'The log no longer has what the webhook would send next' },
  'events-gone': { status: 410, title: 'The log no longer goes back so far' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'url-too-long': { status: 414, title: 'The URL is too long' },
  'unsupported-media-type': { status: 415, title: 'The body is not JSON' },
  'expectation-failed': { status: 417, title: 'The expectation cannot be met' },
  'bad-body': { status: 422, title: 'The body is not valid' },
  'too-many-sessions': { status: 422, title: 'The users have too many sessions for one answer' },
  'session-unheard': { status: 422, title: 'No message could say this session' },
  'idempotency-key-reused': { status: 422, title: 'The Idempotency-Key is that of another request' },
  'too-many-requests': { status: 429, title: 'Too many requests' },
  'too-many-streams': { status: 429, title: 'The caller has as many streams as it may have' },
  'headers-too-large': { status: 431, title: 'The URL and headers are too large' },
  internal: { status: 500, title: 'Willow failed to answer' },
  'no-secret-key': { status: 501, title: 'This process has no key to encrypt secrets with' },
  overloaded: { status: 503, title: 'Willow is overloaded' },
  'database-unavailable': { status: 503, title: 'The database is away' },
  'not-ready': { status: 503, title: 'Willow is not ready' },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>;

export type ProblemType = keyof typeof problemTypes;

export type Problem = {
  readonly type: ProblemType;
  readonly detail?: string;
  /** What is wrong with which parameter. */
  readonly errors?: readonly InputError[];
  /** Further members of the body. */
  readonly extensions?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
};
export type InputError = {
  readonly in: 'path' | 'query' | 'header' | 'body';
  readonly name: string;
  readonly detail: string;
};

/** Thrown by a handler that cannot answer for a reason of ours (5xx): it is answered, and logged. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail ?? problemTypes[problem.type].title);
    this.problem = problem;
  }
}

/** Long enough for a restarted database, short enough for a caller who waits. */
const retryAfterSeconds = 5;
const problemContentType = 'application/problem+json; charset=utf-8';

/**
 * On every answer. What is kept must be asked for again: presence is true for a moment only. No answer is a page: a browser that
 * is made to show one runs nothing of it, frames it nowhere and tells nobody its URL, which holds ids of users. Constants and
 * not @fastify/helmet, which costs as much as the whole of a bare request, for headers that speak of pages.
 */
export const commonHeaders: Readonly<Record<string, string>> = {
  'cache-control': 'private, no-cache',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Of an answer that shows a secret: nobody keeps it, the caller included. */
export const secretHeaders: Readonly<Record<string, string>> = { 'cache-control': 'no-store' };

/** What is too much for now is not for long. */
export const overloaded: Problem = {
  type: 'overloaded',
  detail: 'there is too much to do right now',
  headers: { 'retry-after': '1' },
};

/** Whoever wants to read on begins behind this position, and has missed what was before. */
export function eventsGone(after: number): Problem {
  return { type: 'events-gone', detail: `the log begins after ${after}`, extensions: { after } };
}

export function statusOf(problem: Problem): number {
  return problemTypes[problem.type].status;
}

/** The general type of a status, for errors that are known by no more than that. */
export function typeOfStatus(status: number): ProblemType | undefined {
  return (Object.keys(problemTypes) as ProblemType[]).find((type) => problemTypes[type].status === status);
}

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply.code(statusOf(problem)).headers(headersOf(problem)).send(bodyOf(problem));
}

/** For a request that the framework does not see. */
export function rawAnswer(problem: Problem) {
  const body = bodyOf(problem);
  const headers = { ...headersOf(problem), 'content-length': Buffer.byteLength(body) };
  return { status: statusOf(problem), headers, body };
}

/** A whole HTTP/1.1 response, for a socket on which no request came to be. */
export function rawResponse(problem: Problem): string {
  const { status, headers, body } = rawAnswer(problem);
  const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`;
}

function headersOf(problem: Problem): Record<string, string> {
  const isPassing = statusOf(problem) === 503 || statusOf(problem) === 429;
  return {
    ...commonHeaders,
    ...(isPassing && { 'retry-after': String(retryAfterSeconds) }),
    ...problem.headers,
    'content-type': problemContentType,
  };
}

function bodyOf({ type, detail, errors, extensions }: Problem): string {
  const { status, title } = problemTypes[type];
  return JSON.stringify({ type: `urn:willow:problem:${type}`, title, status, detail, errors, ...extensions });
}
