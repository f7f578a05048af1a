// A backend prepares a login: it gets the will and the birth to hand to its client, with a ticket in each.

import type { FastifyReply } from 'fastify';
import type { SessionId, UserId } from '../../core/ids.ts';
import type { PreparedMessages } from '../../core/prepared.ts';
import { prepareSession } from '../answers/sessions.ts';
import { callerOf } from '../auth.ts';
import type { Caller, HttpServer } from '../instance.ts';
import { NoQuery, UserPath } from '../parameters.ts';
import { secretHeaders, sendProblem } from '../problems.ts';
import { preparedBody } from '../render.ts';
import { IdempotencyHeader, NewSession } from '../session-bodies.ts';

export type Prepared = PreparedMessages & {
  readonly kind: 'prepared';
  readonly sessionId: SessionId;
  /** Births are heard until then. */
  readonly expiresAtMs: number;
};

export type PrepareRefusal =
  | { readonly kind: 'no-secret-key' }
  /** No message could say these ids, or this device. */
  | { readonly kind: 'unheard'; readonly why: string }
  | { readonly kind: 'key-reused' };

export type PrepareRequest = NewSession & {
  readonly userId: UserId;
  readonly caller: Caller;
  /** Null: it is not asked again. */
  readonly idempotencyKey: string | null;
};

export type PreparePort = {
  readonly prepare: (request: PrepareRequest) => Promise<Prepared | PrepareRefusal>;
};

const schema = { params: UserPath, querystring: NoQuery, headers: IdempotencyHeader, body: NewSession };

export function preparedSessionRoutes(app: HttpServer, { prepare }: PreparePort): void {
  app.post(
    '/users/:id/sessions',
    { config: { scope: 'sessions:write', operation: prepareSession }, schema },
    async (request, reply) => {
      const idempotencyKey = request.headers['idempotency-key'] ?? null;
      const { id: userId } = request.params;
      const prepared = await prepare({ ...request.body, userId, caller: callerOf(request), idempotencyKey });
      if (prepared.kind !== 'prepared') return refuse(reply, prepared);
      // Whoever holds the ticket speaks for the session.
      reply.code(201).headers(secretHeaders);
      return reply.send(preparedBody(prepared));
    },
  );
}

function refuse(reply: FastifyReply, refusal: PrepareRefusal): FastifyReply {
  switch (refusal.kind) {
    case 'no-secret-key':
      return sendProblem(reply, { type: 'no-secret-key', detail: 'set SECRET_KEY where this process is started' });
    case 'unheard':
      return sendProblem(reply, { type: 'session-unheard', detail: refusal.why });
    case 'key-reused':
      return sendProblem(reply, {
        type: 'idempotency-key-reused',
        detail: 'the first request with it asked for something else',
      });
  }
}
