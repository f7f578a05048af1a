// What was tried for a webhook, and the events that it refused: lists for a person, who gives those a second chance, or up.

import { z } from 'zod';
import {
  deleteParkedEvent,
  listAttemptsOfWebhook,
  listParkedEvents,
  retryParkedEvent,
  retryParkedEvents,
} from '../answers/attempts.ts';
import { callerOf } from '../auth.ts';
import { type Cursor, defineCursor, sendPage } from '../cursor.ts';
import type { Caller, HttpServer } from '../instance.ts';
import { NoBody, NoQuery, PageQuery, ParkedPath, WebhookPath } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { attemptBody, type LoggedEvent, parkedBody } from '../render.ts';

const Place = z.strictObject({ id: z.int().min(0) });
const attemptsCursor = defineCursor('attempts', Place);
const parkedCursor = defineCursor('parked', Place);

const outcomes = ['delivered', 'refused', 'gone', 'failed'] as const;
const AttemptsQuery = PageQuery.extend({
  outcome: z
    .enum(outcomes, `must be one of ${outcomes.join(', ')}`)
    .optional()
    .describe('Only those that ended so.'),
});

export type Attempt = {
  readonly id: number;
  readonly webhookId: string;
  /** Positions; null for a test. */
  readonly first: number | null;
  readonly last: number | null;
  readonly count: number;
  readonly atMs: number;
  readonly durationMs: number;
  readonly outcome: string;
  readonly status: number | null;
  readonly detail: string | null;
  readonly body: string | null;
};

export type ParkedEvent = {
  readonly id: number;
  readonly event: LoggedEvent;
  readonly reason: string;
  readonly parkedAtMs: number;
  readonly attempts: number;
  readonly status: number | null;
  readonly detail: string | null;
  readonly retryAtMs: number | null;
};

type IdPage = { readonly limit: number; readonly before: number | null };

/** Newest first. Null: there is no such webhook. */
export type AttemptsPort = {
  /** Of one outcome, or of all where that is null. */
  readonly listAttempts: (
    id: string,
    outcome: (typeof outcomes)[number] | null,
    page: IdPage,
  ) => Promise<readonly Attempt[] | null>;
  readonly listParked: (id: string, page: IdPage) => Promise<readonly ParkedEvent[] | null>;
  /** One, or all where that is null; how many there were. */
  readonly retryParked: (id: string, parkedId: number | null, caller: Caller) => Promise<number | null>;
  /** Whether it was there. */
  readonly removeParked: (id: string, parkedId: number, caller: Caller) => Promise<boolean | null>;
};

export function attemptRoutes(app: HttpServer, port: AttemptsPort): void {
  const { listAttempts, listParked } = port;
  app.get(
    '/webhooks/:id/attempts',
    {
      config: { scope: 'webhooks:admin', operation: listAttemptsOfWebhook },
      schema: { params: WebhookPath, querystring: AttemptsQuery },
    },
    async ({ params, query: { outcome = null, ...query } }, reply) =>
      sendPage(reply, query, {
        ...byId(attemptsCursor),
        read: ({ id }, limit) => listAttempts(params.id, outcome, { limit, before: id }),
        itemOf: attemptBody,
      }),
  );

  app.get(
    '/webhooks/:id/parked',
    {
      config: { scope: 'webhooks:admin', operation: listParkedEvents },
      schema: { params: WebhookPath, querystring: PageQuery },
    },
    async ({ params, query }, reply) =>
      sendPage(reply, query, {
        ...byId(parkedCursor),
        read: ({ id }, limit) => listParked(params.id, { limit, before: id }),
        itemOf: parkedBody,
      }),
  );

  parkedRoutes(app, port);
}

/** A second chance for what is parked, or none. */
function parkedRoutes(app: HttpServer, { retryParked, removeParked }: AttemptsPort): void {
  app.post(
    '/webhooks/:id/parked/retry',
    {
      config: { scope: 'webhooks:admin', operation: retryParkedEvents },
      schema: { params: WebhookPath, querystring: NoQuery, body: NoBody },
    },
    async (request, reply) => {
      const count = await retryParked(request.params.id, null, callerOf(request));
      if (count === null) return sendProblem(reply, { type: 'unknown-webhook' });
      return reply.code(202).send({ retried: count });
    },
  );

  app.post(
    '/webhooks/:id/parked/:parkedId/retry',
    {
      config: { scope: 'webhooks:admin', operation: retryParkedEvent },
      schema: { params: ParkedPath, querystring: NoQuery, body: NoBody },
    },
    async (request, reply) => {
      const count = await retryParked(request.params.id, request.params.parkedId, callerOf(request));
      if (count === null) return sendProblem(reply, { type: 'unknown-webhook' });
      if (count === 0) return sendProblem(reply, { type: 'unknown-parked' });
      return reply.code(202).send({ retried: count });
    },
  );

  app.delete(
    '/webhooks/:id/parked/:parkedId',
    {
      config: { scope: 'webhooks:admin', operation: deleteParkedEvent },
      schema: { params: ParkedPath, querystring: NoQuery },
    },
    async (request, reply) => {
      const wasThere = await removeParked(request.params.id, request.params.parkedId, callerOf(request));
      if (wasThere === null) return sendProblem(reply, { type: 'unknown-webhook' });
      return wasThere ? reply.code(204).send() : sendProblem(reply, { type: 'unknown-parked' });
    },
  );
}

/** Newest first, of a webhook that there is. */
function byId(cursor: Cursor<z.infer<typeof Place>>) {
  return {
    cursor,
    first: { id: null },
    unknown: { type: 'unknown-webhook' },
    placeOf: ({ id }: { readonly id: number }) => ({ id }),
  } as const;
}
