// What the calls about webhooks answer, and what the documents say of them.

import { z } from 'zod';
import { eventTypes } from '../../core/session.ts';
import { type Answer, named, type Operation, pageOf } from '../openapi/operation.ts';

const position = z.int().min(0);

const Lag = z
  .object({
    position: position.describe('Of its slowest lane.'),
    head: position.describe('Of the log.'),
    events: z.int().min(0).describe('How many events are between: at most so many are owed.'),
  })
  .register(named, { id: 'WebhookLag' });

const fields = {
  id: z.string().describe('The webhook.'),
  url: z.string().describe('Where it is called.'),
  description: z.string().nullable().describe('Whose it is, for whoever reads the list.'),
  events: z.array(z.enum(eventTypes)).nullable().describe('The types that it wants; null: all of them.'),
  lanes: z.int().min(1).describe('How many deliveries may be under way at once.'),
  maxBatch: z.int().min(1).describe('Up to so many events of a lane are sent in one request.'),
  status: z.enum(['enabled', 'disabled']).describe('`disabled` while nothing is sent to it.'),
  disabledReason: z
    .enum(['gone', 'failing', 'paused'])
    .nullable()
    .describe('It answered 410; it has failed for five days; or it was paused. Null while it is enabled.'),
  failingSince: z.iso.datetime().nullable().describe('Since when nothing has succeeded; null while it is well.'),
  lastSuccessAt: z.iso.datetime().nullable().describe('When it last took something; null: never.'),
  previousSecretUntil: z.iso.datetime().nullable().describe('Until then the secret before this one signs too.'),
  lag: Lag.describe('How far behind the log it is.'),
  createdAt: z.iso.datetime().describe('When it was made.'),
  updatedAt: z.iso.datetime().describe('When it was last changed.'),
};

export const Webhook = z.object(fields).register(named, { id: 'Webhook' });
export const WebhookWithSecret = z
  .object({ ...fields, secret: z.string().describe('What signs: shown here, and never again.') })
  .register(named, { id: 'WebhookWithSecret' });
export const WebhookPage = pageOf(Webhook, 'WebhookPage');

export const TestResult = z
  .object({
    outcome: z.enum(['delivered', 'refused', 'gone', 'failed']).describe('What is made of the answer.'),
    status: z.int().nullable().describe('The status of the answer; null where none came.'),
    durationMs: z.int().min(0).describe('How long it took.'),
    detail: z.string().nullable().describe('More, in a sentence.'),
  })
  .register(named, { id: 'WebhookTestResult' });

const webhook = {
  id: 'whe_1',
  url: 'https://example.com/hook',
  description: 'billing',
  events: ['user.offline'],
  lanes: 8,
  maxBatch: 1,
  status: 'enabled',
  disabledReason: null,
  failingSince: null,
  lastSuccessAt: '2026-11-23T10:00:00.000Z',
  previousSecretUntil: null,
  lag: { position: 118, head: 120, events: 2 },
  createdAt: '2026-11-23T09:59:59.000Z',
  updatedAt: '2026-11-23T09:59:59.500Z',
} satisfies z.input<typeof Webhook>;

const shown: Answer = { description: 'The webhook as it is now.', schema: Webhook, example: webhook };
const withSecret: Answer = {
  description: 'The webhook, with its secret.',
  headers: ['No-Store'],
  schema: WebhookWithSecret,
  example: { ...webhook, secret: 'whsec_c2VjcmV0' },
};
const nothing = { name: 'NoBody', description: 'Nothing, or an empty object.', example: {} };

export const createWebhook: Operation = {
  id: 'createWebhook',
  tag: 'webhooks',
  summary: 'Make a webhook',
  description:
    'It begins at the end of the log, or behind the position `after`. Made twice, it is sent everything twice.',
  body: {
    name: 'NewWebhook',
    description: 'Only `url` is needed.',
    example: { url: webhook.url, description: 'billing', events: ['user.offline'], enabled: false },
  },
  answers: { 201: { ...withSecret, headers: ['Location', 'No-Store'] } },
  problems: ['too-many-webhooks', 'events-gone', 'no-secret-key'],
};

export const listWebhooks: Operation = {
  id: 'listWebhooks',
  tag: 'webhooks',
  summary: 'The webhooks',
  description: 'Newest first, without their secrets.',
  answers: {
    200: {
      description: 'A page of webhooks.',
      schema: WebhookPage,
      example: { data: [webhook], nextCursor: null } satisfies z.input<typeof WebhookPage>,
    },
  },
};

export const getWebhook: Operation = {
  id: 'getWebhook',
  tag: 'webhooks',
  summary: 'One webhook',
  description: 'Without its secret.',
  answers: { 200: shown },
  problems: ['unknown-webhook'],
};

export const updateWebhook: Operation = {
  id: 'updateWebhook',
  tag: 'webhooks',
  summary: 'Change a webhook',
  description: 'What is left out stays. A new URL is tried at once; `enabled` pauses it, or lets it go on.',
  body: {
    name: 'WebhookChanges',
    description: 'What is to be different.',
    example: { lanes: 16, enabled: true },
  },
  answers: { 200: shown },
  problems: ['unknown-webhook', 'webhook-left-behind'],
};

export const deleteWebhook: Operation = {
  id: 'deleteWebhook',
  tag: 'webhooks',
  summary: 'Remove a webhook',
  description: 'What was tried for it, and what is parked, goes with it.',
  answers: { 204: { description: 'It is removed.' } },
  problems: ['unknown-webhook'],
};

export const rotateSecret: Operation = {
  id: 'rotateSecret',
  tag: 'webhooks',
  summary: 'Give it a new secret',
  description: 'For 24 hours both secrets sign, the old and the new.',
  body: nothing,
  answers: { 200: withSecret },
  problems: ['unknown-webhook', 'no-secret-key'],
};

export const testWebhook: Operation = {
  id: 'testWebhook',
  tag: 'webhooks',
  summary: 'Send it something now',
  description: 'One request of the type `webhook.test`, whatever the state of the webhook.',
  body: nothing,
  answers: {
    200: {
      description: 'How it went.',
      schema: TestResult,
      example: { outcome: 'delivered', status: 204, durationMs: 12, detail: null } satisfies z.input<typeof TestResult>,
    },
  },
  problems: ['unknown-webhook', 'no-secret-key'],
};

export const enableWebhook: Operation = {
  id: 'enableWebhook',
  tag: 'webhooks',
  summary: 'Let it go on',
  description: 'Where it stopped, with the first try at once.',
  body: nothing,
  answers: { 200: shown },
  problems: ['unknown-webhook', 'webhook-left-behind'],
};

export const replayWebhook: Operation = {
  id: 'replayWebhook',
  tag: 'webhooks',
  summary: 'Send it back to an earlier place',
  description:
    'Everything behind that position, or from that time on, is sent again, under the same `webhook-id` as before.',
  body: { name: 'ReplayFrom', description: 'Either `after` or `since`.', example: { after: 118 } },
  answers: { 200: shown },
  problems: ['unknown-webhook', 'events-gone'],
};
