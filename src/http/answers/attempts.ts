// What the calls about attempts and parked events answer, and what the documents say of them.

import { z } from 'zod';
import { type Answer, named, type Operation, pageOf } from '../openapi/operation.ts';
import { AnyEvent, ended } from './events.ts';

const Attempt = z
  .object({
    id: z.int().min(1).describe('Of this attempt.'),
    webhookId: z.string().describe('The `webhook-id` that the request had.'),
    firstPosition: z.int().min(1).nullable().describe('Of the first event in it; null for a test.'),
    lastPosition: z.int().min(1).nullable().describe('Of the last event in it; null for a test.'),
    count: z.int().min(0).describe('How many events were in it.'),
    at: z.iso.datetime().describe('When it ended.'),
    durationMs: z.int().min(0).describe('How long it took.'),
    outcome: z
      .enum(['delivered', 'refused', 'gone', 'failed'])
      .describe('`refused`: this event, for good; `gone`: the webhook; `failed`: it is tried again.'),
    status: z.int().nullable().describe('Of the answer; null where none came.'),
    detail: z.string().nullable().describe('More, in a sentence.'),
    body: z.string().nullable().describe('What was answered, its first 8 KiB; null where nothing came.'),
  })
  .register(named, { id: 'Attempt' });
export const AttemptPage = pageOf(Attempt, 'AttemptPage');

const ParkedEvent = z
  .object({
    id: z.int().min(1).describe('Of this parked event.'),
    event: AnyEvent.describe('The event.'),
    reason: z.enum(['refused', 'failed-for-a-day']).describe('Why it is here.'),
    parkedAt: z.iso.datetime().describe('Since when.'),
    attempts: z.int().min(0).describe('How often it was tried.'),
    status: z.int().nullable().describe('Of the last answer; null where none came.'),
    detail: z.string().nullable().describe('More, in a sentence.'),
    retryAt: z.iso.datetime().nullable().describe('When it is sent again; null: somebody has to say so.'),
  })
  .register(named, { id: 'ParkedEvent' });
export const ParkedEventPage = pageOf(ParkedEvent, 'ParkedEventPage');

const Retried = z
  .object({ retried: z.int().min(0).describe('So many will be sent again.') })
  .register(named, { id: 'Retried' });
const retried: Answer = {
  description: 'They will be sent, as soon as the webhook is enabled.',
  schema: Retried,
  example: { retried: 1 },
};
const nothing = { name: 'NoBody', description: 'Nothing, or an empty object.', example: {} };

export const listAttemptsOfWebhook: Operation = {
  id: 'listAttempts',
  tag: 'webhooks',
  summary: 'What was tried',
  description: 'The newest 1,000 requests that were delivered and the newest 1,000 of the others, newest first.',
  answers: {
    200: {
      description: 'A page of attempts.',
      schema: AttemptPage,
      example: {
        data: [
          {
            id: 7,
            webhookId: 'whe_1_118',
            firstPosition: 118,
            lastPosition: 118,
            count: 1,
            at: '2026-11-23T10:00:00.000Z',
            durationMs: 12,
            outcome: 'refused',
            status: 422,
            detail: null,
            body: 'no such user',
          },
        ],
        nextCursor: null,
      } satisfies z.input<typeof AttemptPage>,
    },
  },
  problems: ['unknown-webhook'],
};

export const listParkedEvents: Operation = {
  id: 'listParkedEvents',
  tag: 'webhooks',
  summary: 'The events that it refused',
  description: 'Or that failed for a day while others went through; newest first.',
  answers: {
    200: {
      description: 'A page of parked events.',
      schema: ParkedEventPage,
      example: {
        data: [
          {
            id: 3,
            event: ended,
            reason: 'refused',
            parkedAt: '2026-11-23T10:00:00.000Z',
            attempts: 3,
            status: 422,
            detail: null,
            retryAt: null,
          },
        ],
        nextCursor: null,
      } satisfies z.input<typeof ParkedEventPage>,
    },
  },
  problems: ['unknown-webhook'],
};

export const retryParkedEvents: Operation = {
  id: 'retryParkedEvents',
  tag: 'webhooks',
  summary: 'Send all parked events again',
  description: 'Past the lanes, as soon as the webhook is enabled.',
  body: nothing,
  answers: { 202: retried },
  problems: ['unknown-webhook'],
};

export const retryParkedEvent: Operation = {
  id: 'retryParkedEvent',
  tag: 'webhooks',
  summary: 'Send one parked event again',
  description: 'Past the lanes, as soon as the webhook is enabled.',
  body: nothing,
  answers: { 202: retried },
  problems: ['unknown-webhook', 'unknown-parked'],
};

export const deleteParkedEvent: Operation = {
  id: 'deleteParkedEvent',
  tag: 'webhooks',
  summary: 'Give one parked event up',
  description: 'Nobody wants it any more, and it is not sent again; the log still has it.',
  answers: { 204: { description: 'It is not parked any more.' } },
  problems: ['unknown-webhook', 'unknown-parked'],
};
