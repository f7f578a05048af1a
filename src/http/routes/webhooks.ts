// Those who want to be told: made, changed, asked about, tried out, and sent back to an earlier place in the log. The secret of one is
// shown when it is made, and never again.

import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { EventType } from '../../core/session.ts';
import {
  createWebhook,
  deleteWebhook,
  enableWebhook,
  getWebhook,
  listWebhooks,
  replayWebhook,
  rotateSecret,
  testWebhook,
  updateWebhook,
} from '../answers/webhooks.ts';
import { callerOf } from '../auth.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import { badBody } from '../failures.ts';
import type { Caller, HttpServer } from '../instance.ts';
import { NoBody, NoQuery, PageQuery, timeMsMax, WebhookPath } from '../parameters.ts';
import { eventsGone, secretHeaders, sendProblem } from '../problems.ts';
import { webhookBody } from '../render.ts';
import {
  type ChangedWebhook,
  changedWebhook,
  type NewWebhook,
  newWebhook,
  ReplayFrom,
  type UrlProblem,
} from '../webhook-bodies.ts';

const Place = z.strictObject({ createdAtMs: z.int().min(0).max(timeMsMax), id: z.string().regex(/^[\w-]{1,64}$/u) });
const cursor = defineCursor('webhooks', Place);

export type Webhook = {
  readonly id: string;
  readonly url: string;
  readonly description: string | null;
  readonly events: readonly EventType[] | null;
  readonly lanes: number;
  readonly maxBatch: number;
  /** Null while it is enabled. */
  readonly disabledReason: 'gone' | 'failing' | 'paused' | null;
  readonly failingSinceMs: number | null;
  readonly lastSuccessAtMs: number | null;
  readonly previousSecretUntilMs: number | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Of its slowest lane. */
  readonly position: number;
  /** Of the log. */
  readonly head: number;
};

export type Done = { readonly kind: 'done'; readonly webhook: Webhook };
export type DoneWithSecret = Done & { readonly secret: string };
export type WebhookRefusal =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'no-secret-key' }
  | { readonly kind: 'too-many'; readonly webhooksMax: number }
  /** The log begins behind this position, and not before. */
  | { readonly kind: 'gone'; readonly startsAfter: number }
  | { readonly kind: 'ahead'; readonly head: number };

export type TestResult = {
  readonly outcome: string;
  readonly status: number | null;
  readonly durationMs: number;
  readonly detail: string | null;
};

export type WebhooksPort = {
  /** As far as the URL tells; where its name leads is seen when it is called. */
  readonly targetProblem: UrlProblem;
  readonly create: (wanted: NewWebhook, caller: Caller) => Promise<DoneWithSecret | WebhookRefusal>;
  /** Newest first: by creation, then by id, both descending. */
  readonly list: (page: {
    readonly limit: number;
    readonly after: z.infer<typeof Place> | null;
  }) => Promise<readonly Webhook[]>;
  readonly get: (id: string) => Promise<Webhook | null>;
  readonly change: (id: string, changes: ChangedWebhook, caller: Caller) => Promise<Done | WebhookRefusal>;
  readonly remove: (id: string, caller: Caller) => Promise<boolean>;
  readonly rotate: (id: string, caller: Caller) => Promise<DoneWithSecret | WebhookRefusal>;
  readonly enable: (id: string, caller: Caller) => Promise<Done | WebhookRefusal>;
  readonly replay: (id: string, from: ReplayFrom, caller: Caller) => Promise<Done | WebhookRefusal>;
  /** Sends a test now, past all lanes. */
  readonly test: (id: string) => Promise<{ readonly kind: 'sent'; readonly result: TestResult } | WebhookRefusal>;
};

const one = { params: WebhookPath, querystring: NoQuery };

/** A body that is far too large a URL is still one that can be told so. */
const bodyLimit = 256 * 1024;

export function webhookRoutes(app: HttpServer, port: WebhooksPort): void {
  const New = newWebhook(port.targetProblem);
  const Changed = changedWebhook(port.targetProblem);

  app.post(
    '/webhooks',
    {
      config: { scope: 'webhooks:admin', operation: createWebhook },
      bodyLimit,
      schema: { querystring: NoQuery, body: New },
    },
    async (request, reply) => {
      const made = await port.create(request.body, callerOf(request));
      if (made.kind !== 'done') return refuse(reply, made);
      reply.code(201).header('location', `/webhooks/${made.webhook.id}`).headers(secretHeaders);
      return reply.send({ ...webhookBody(made.webhook), secret: made.secret });
    },
  );

  app.get(
    '/webhooks',
    { config: { scope: 'webhooks:admin', operation: listWebhooks }, schema: { querystring: PageQuery } },
    async (request, reply) =>
      sendPage(reply, request.query, {
        cursor,
        first: null,
        read: (after, limit) => port.list({ limit, after }),
        placeOf: ({ createdAtMs, id }) => ({ createdAtMs, id }),
        itemOf: webhookBody,
      }),
  );

  app.get(
    '/webhooks/:id',
    { config: { scope: 'webhooks:admin', operation: getWebhook }, schema: one },
    async (request, reply) => {
      const webhook = await port.get(request.params.id);
      return webhook === null ? refuse(reply, { kind: 'unknown' }) : webhookBody(webhook);
    },
  );

  app.patch(
    '/webhooks/:id',
    {
      config: { scope: 'webhooks:admin', operation: updateWebhook },
      bodyLimit,
      schema: { ...one, body: Changed },
    },
    async (request, reply) => answer(reply, await port.change(request.params.id, request.body, callerOf(request))),
  );

  app.delete(
    '/webhooks/:id',
    { config: { scope: 'webhooks:admin', operation: deleteWebhook }, schema: one },
    async (request, reply) => {
      const wasThere = await port.remove(request.params.id, callerOf(request));
      return wasThere ? reply.code(204).send() : refuse(reply, { kind: 'unknown' });
    },
  );
}

/** What is done to a webhook, besides changing what it says. */
export function webhookActionRoutes(app: HttpServer, port: WebhooksPort): void {
  app.post(
    '/webhooks/:id/rotate',
    { config: { scope: 'webhooks:admin', operation: rotateSecret }, schema: { ...one, body: NoBody } },
    async (request, reply) => {
      const rotated = await port.rotate(request.params.id, callerOf(request));
      if (rotated.kind !== 'done') return refuse(reply, rotated);
      return reply.headers(secretHeaders).send({ ...webhookBody(rotated.webhook), secret: rotated.secret });
    },
  );

  app.post(
    '/webhooks/:id/test',
    { config: { scope: 'webhooks:admin', operation: testWebhook }, schema: { ...one, body: NoBody } },
    async (request, reply) => {
      const tested = await port.test(request.params.id);
      if (tested.kind !== 'sent') return refuse(reply, tested);
      const { outcome, status, durationMs, detail } = tested.result;
      return { outcome, status, durationMs, detail };
    },
  );

  app.post(
    '/webhooks/:id/enable',
    { config: { scope: 'webhooks:admin', operation: enableWebhook }, schema: { ...one, body: NoBody } },
    async (request, reply) => answer(reply, await port.enable(request.params.id, callerOf(request))),
  );

  app.post(
    '/webhooks/:id/replay',
    { config: { scope: 'webhooks:admin', operation: replayWebhook }, schema: { ...one, body: ReplayFrom } },
    async (request, reply) => {
      const replayed = await port.replay(request.params.id, request.body, callerOf(request));
      return replayed.kind === 'done' ? webhookBody(replayed.webhook) : refuse(reply, replayed);
    },
  );
}

/** Here a log that has gone on is a conflict: nobody asked for a position. */
function answer(reply: FastifyReply, outcome: Done | WebhookRefusal) {
  if (outcome.kind === 'done') return webhookBody(outcome.webhook);
  if (outcome.kind !== 'gone') return refuse(reply, outcome);
  return sendProblem(reply, {
    type: 'webhook-left-behind',
    detail: `the log begins after ${outcome.startsAfter}; replay from there, and then enable it`,
    extensions: { after: outcome.startsAfter },
  });
}

function refuse(reply: FastifyReply, refusal: WebhookRefusal): FastifyReply {
  switch (refusal.kind) {
    case 'unknown':
      return sendProblem(reply, { type: 'unknown-webhook' });
    case 'no-secret-key':
      return sendProblem(reply, { type: 'no-secret-key', detail: 'set SECRET_KEY where this process is started' });
    case 'too-many':
      return sendProblem(reply, { type: 'too-many-webhooks', detail: `at most ${refusal.webhooksMax}` });
    case 'gone':
      return sendProblem(reply, eventsGone(refusal.startsAfter));
    case 'ahead':
      return sendProblem(
        reply,
        badBody([{ name: 'after', detail: `must not be beyond the end of the log, which is ${refusal.head}` }]),
      );
  }
}
