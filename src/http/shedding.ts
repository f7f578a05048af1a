// Refuses what there is no room for, before it costs anything, so that whatever is let in is answered soon. What tells how the
// process is doing is never refused. A handler that takes the socket away from the framework would be counted for ever.

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Connections } from './connections.ts';
import type { HttpServer } from './instance.ts';
import type { HttpLimits } from './limits.ts';
import { type Problem, sendProblem } from './problems.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered however much there is to do. */
    isVital?: true;
  }
  interface FastifyRequest {
    isBeingWorkedOn: boolean;
  }
}

export type SheddingDeps = {
  readonly connections: Connections;
  readonly limits: Pick<HttpLimits, 'requestsMax' | 'requestsPerConnectionMax'>;
  readonly onShed: () => void;
};

/** Returns what is to be asked before anything else is done for a request. */
export function shedLoad(app: HttpServer, { connections, limits, onShed }: SheddingDeps) {
  let working = 0;
  const isFull = (): boolean => working >= limits.requestsMax || connections.isUnreadCrowded;
  const shed = (reply: FastifyReply, problem: Problem): void => {
    onShed();
    sendProblem(reply, problem);
  };

  app.decorateRequest('isBeingWorkedOn', false);
  // Once its body has come: somebody who never sends all of it takes a connection, and no place among those who work.
  app.addHook('preValidation', (request, reply, done) => {
    const isVital = request.routeOptions.config.isVital === true;
    if (!isVital && isFull()) return shed(reply, overloaded);
    request.isBeingWorkedOn = true;
    working += 1;
    const pipelined = connections.begin(request.raw.socket);
    return !isVital && pipelined > limits.requestsPerConnectionMax ? shed(reply, tooManyAtOnce) : done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.isBeingWorkedOn) {
      request.isBeingWorkedOn = false;
      working -= 1;
      connections.end(request.raw.socket);
      if (typeof payload === 'string') connections.answer(reply.raw, payload.length);
    }
    done(null, payload);
  });

  return (request: FastifyRequest): Problem | undefined => {
    if (!isFull() || request.routeOptions.config.isVital === true) return undefined;
    onShed();
    return overloaded;
  };
}

const headers = { 'retry-after': '1' };
const overloaded: Problem = { type: 'overloaded', detail: 'there is too much to do right now', headers };
const tooManyAtOnce: Problem = {
  type: 'overloaded',
  headers,
  detail: 'there are too many requests on this connection that wait for their answer; use another',
};
