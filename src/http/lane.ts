// The most read call, GET /users/:id/presence, answered past the framework, whose routing, validation, hooks and reply cost more than all the
// rest of it. It asks the very same guards and counts with the same counters, and it only ever says what they allow: where
// anything is out of the ordinary (an id that is escaped, a query, a body, a condition, a page, a key that is not known yet, no room) it
// has done nothing, and the request goes the usual way, which knows all answers. Both ways answer alike, header by header.

import type { IncomingMessage, RequestListener } from 'node:http';
import type { UserId } from '../core/ids.ts';
import type { Logger } from '../runtime/logger.ts';
import { type CallerAtOnce, callersAtOnce, type GuardPort } from './auth.ts';
import type { Connections } from './connections.ts';
import type { Cors } from './cors.ts';
import { presenceTag } from './etag.ts';
import { problemOf } from './failures.ts';
import { callerName } from './instance.ts';
import { commonHeaders, type Problem, rawAnswer } from './problems.ts';
import type { Quota } from './quota.ts';
import { rateLimitOf } from './rate-limit.ts';
import { logAnswer, logFailure } from './request-log.ts';
import { type PresencePort, presenceRoute, presenceScope, presenceText } from './routes/presence.ts';
import type { Shedding } from './shedding.ts';
import type { TallyOf } from './tally.ts';

export type LanePorts = {
  readonly apiKey: string | null;
  readonly hasApi: boolean;
  readonly presence: PresencePort;
  readonly keys: GuardPort;
  readonly isUnavailable: (error: unknown) => boolean;
  readonly logger: Logger;
};

/** What the usual way asks too. */
export type LaneGuards = {
  readonly connections: Connections;
  readonly shedding: Shedding;
  readonly quota: Quota;
  readonly tallyOf: TallyOf;
  readonly cors: Cors | null;
};

type Lane = (usual: RequestListener) => RequestListener;
const line = { method: 'GET', route: presenceRoute };

/** Where no key is needed the usual way is all there is: it looks at the host that was asked for. */
export function presenceLane(ports: LanePorts, guards: LaneGuards): Lane {
  const { apiKey, hasApi, keys } = ports;
  return apiKey === null || !hasApi ? (usual) => usual : laneOf(ports, guards, callersAtOnce({ apiKey, port: keys }));
}

function laneOf({ presence, ...ports }: LanePorts, guards: LaneGuards, callerAtOnce: CallerAtOnce): Lane {
  const { connections, shedding, quota } = guards;
  const onAnswered = answerTeller(ports, guards);
  const pageHeaders = guards.cors?.headersFor(undefined) ?? {};
  const constant = Object.entries({ ...pageHeaders, ...commonHeaders }).flat();
  return (usual) => (request, response) => {
    const userId = plainUserOf(request);
    const caller = userId === null ? null : callerAtOnce(request.headers.authorization, presenceScope);
    if (userId === null || caller === null) return usual(request, response);
    const { socket } = request;
    if (!shedding.enter(socket)) return usual(request, response);
    const name = callerName(caller);
    const fromMs = performance.now();
    const taken = quota.take(name, fromMs);
    if (taken.isOver) {
      shedding.leave(socket, response);
      return usual(request, response);
    }
    const limit = rateLimitOf(taken);
    const answer = (known: Awaited<ReturnType<PresencePort>>): void => {
      const text = presenceText(known);
      shedding.leave(socket, response);
      connections.answer(response, text.length, name);
      const own = ['ratelimit', limit, 'etag', presenceTag(known), 'content-type', 'application/json; charset=utf-8'];
      const bytes = Buffer.byteLength(text);
      // Of letters that are a byte each, in either encoding, and sooner written in this one.
      const encoding = bytes === text.length ? 'latin1' : 'utf8';
      response.writeHead(200, [...constant, ...own, 'content-length', String(bytes)]).end(text, encoding);
      onAnswered(200, performance.now() - fromMs);
    };
    const fail = (error: unknown): void => {
      if (response.headersSent) throw error;
      shedding.leave(socket, response);
      const { status, headers, body } = rawAnswer(failureOf(ports, error));
      response.writeHead(status, { ...pageHeaders, ratelimit: limit, ...headers }).end(body);
      onAnswered(status, performance.now() - fromMs);
    };
    presence(userId).then(answer).catch(fail);
  };
}

function failureOf({ isUnavailable, logger }: Pick<LanePorts, 'isUnavailable' | 'logger'>, error: unknown): Problem {
  const problem = problemOf(error, { isUnavailable, bodyBytesMax: 0 });
  logFailure(logger, line, problem, error);
  return problem;
}

function answerTeller({ logger }: Pick<LanePorts, 'logger'>, { tallyOf }: LaneGuards) {
  const tally = tallyOf(line.method, line.route);
  const isLogged = logger.isLevelEnabled('debug');
  return (status: number, tookMs: number): void => {
    tally(status, tookMs);
    if (isLogged) logAnswer(logger, line, status, tookMs);
  };
}

/** Ids whose every character stands for itself, in a path and in an id. */
const plainPath = /^\/users\/([\w.~@:-]{1,256})\/presence$/u;

/** Null where there is more to the request than the question, or less. */
function plainUserOf({ method, url = '', headers }: IncomingMessage): UserId | null {
  if (method !== 'GET') return null;
  const userId = plainPath.exec(url)?.[1];
  if (userId === undefined || headers.host === undefined || headers.origin !== undefined) return null;
  if (headers['if-none-match'] !== undefined) return null;
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) return null;
  return userId as UserId;
}
