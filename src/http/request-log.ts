// What is worth a line of the log about requests: those that failed by a fault of ours, and with LOG_LEVEL debug every answer.

import type { FastifyRequest } from 'fastify';
import type { Logger } from '../runtime/logger.ts';
import type { HttpServer } from './instance.ts';
import { type Problem, statusOf } from './problems.ts';

export type RequestLine = { readonly method: string; readonly route: string | null };

export function logFailure(logger: Logger, request: RequestLine, problem: Problem, error: unknown): void {
  const status = statusOf(problem);
  // What there is too much of is counted: a line for each would be more of it.
  if (status < 500 || problem.type === 'overloaded') return;
  const line = { event: 'request.failed', ...request, status, problem: problem.type };
  // Who asks whether we are ready is told so; that is no failure.
  if (problem.type === 'not-ready') logger.info(line);
  else logger[problem.type === 'internal' ? 'error' : 'warn']({ ...line, err: error });
}

export function logAnswers(app: HttpServer, logger: Logger): void {
  app.addHook('onResponse', (request, reply, done) => {
    logAnswer(logger, lineOf(request), reply.statusCode, reply.elapsedTime);
    done();
  });
}

export function logAnswer(logger: Logger, request: RequestLine, status: number, tookMs: number): void {
  logger.debug({ event: 'request.answered', ...request, status, durationMs: Math.round(tookMs) });
}

/** The route instead of the URL: ids of users stay out of the log. */
export function lineOf(request: FastifyRequest): RequestLine {
  return { method: request.method, route: request.routeOptions.url ?? null };
}
