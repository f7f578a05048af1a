// The sessions of a user, and kicks: a backend ends one session, or all of them.

import { z } from 'zod';
import { SessionId, type UserId } from '../../core/ids.ts';
import type { Session } from '../../core/session.ts';
import { endSession, endSessionsOfUser, listSessionsOfUser } from '../answers/sessions.ts';
import { callerOf } from '../auth.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import type { Caller, HttpServer } from '../instance.ts';
import { NoQuery, PageQuery, SessionPath, timeMsMax, UserPath } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { sessionBody } from '../render.ts';
import { askerOf, type Turns } from '../turns.ts';

const Position = z.strictObject({ startedAtMs: z.int().min(0).max(timeMsMax), sessionId: SessionId });
export type SessionPosition = z.infer<typeof Position>;
const cursor = defineCursor('sessions', Position);

export type SessionsPort = {
  /** Ended ones too, newest first: by start, then by session id, both descending. */
  readonly listSessions: (
    userId: UserId,
    page: { readonly limit: number; readonly after: SessionPosition | null },
  ) => Promise<readonly Session[]>;
  /** Null ends all that are live. */
  readonly kick: (userId: UserId, sessionId: SessionId | null, caller: Caller) => Promise<'done' | 'unknown-session'>;
};

type SessionPorts = SessionsPort & { readonly turns: Turns };

export function sessionRoutes(app: HttpServer, { listSessions, kick, turns }: SessionPorts): void {
  app.get(
    '/users/:id/sessions',
    {
      config: { scope: 'presence:read', operation: listSessionsOfUser },
      schema: { params: UserPath, querystring: PageQuery },
    },
    async (request, reply) =>
      sendPage(reply, request.query, {
        cursor,
        first: null,
        read: (after, limit) =>
          turns.take(askerOf(request), 'many', () => listSessions(request.params.id, { limit, after })),
        placeOf: ({ startedAtMs, sessionId }) => ({ startedAtMs, sessionId }),
        itemOf: sessionBody,
      }),
  );

  app.delete(
    '/users/:id/sessions',
    {
      config: { scope: 'sessions:write', operation: endSessionsOfUser },
      schema: { params: UserPath, querystring: NoQuery },
    },
    async (request, reply) => {
      await kick(request.params.id, null, callerOf(request));
      return reply.code(204).send();
    },
  );

  app.delete(
    '/users/:id/sessions/:sessionId',
    {
      config: { scope: 'sessions:write', operation: endSession },
      schema: { params: SessionPath, querystring: NoQuery },
    },
    async (request, reply) => {
      const outcome = await kick(request.params.id, request.params.sessionId, callerOf(request));
      return outcome === 'done' ? reply.code(204).send() : sendProblem(reply, { type: 'unknown-session' });
    },
  );
}
