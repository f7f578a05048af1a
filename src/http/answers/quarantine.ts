// What the calls about the quarantine answer, and what the documents say of them.

import { z } from 'zod';
import { quarantineReasons } from '../../core/signal.ts';
import { named, type Operation, pageOf } from '../openapi/operation.ts';

export const QuarantinedMessage = z
  .object({
    id: z.int().min(1).describe('Of this message.'),
    receivedAt: z.iso.datetime().describe('When it came.'),
    topic: z.string().describe('Where it was published, escaped so that it does no harm where it is shown.'),
    reason: z.enum(quarantineReasons).describe('Why it is here.'),
    detail: z.string().describe('More, in a sentence, escaped.'),
    payload: z.string().describe('What is kept of it, escaped.'),
    payloadBytes: z.int().min(0).describe('How many bytes came.'),
    isCut: z.boolean().describe('Less is kept than came.'),
  })
  .register(named, { id: 'QuarantinedMessage' });
export const QuarantinePage = pageOf(QuarantinedMessage, 'QuarantinePage');

const message = {
  id: 12,
  receivedAt: '2026-11-23T10:00:00.000Z',
  topic: '/logout',
  reason: 'not-json',
  detail: 'the payload is not valid JSON',
  payload: '{"userId":"\\u202eada\\xff\\u000a',
  payloadBytes: 4000,
  isCut: true,
} satisfies z.input<typeof QuarantinedMessage>;

export const listQuarantine: Operation = {
  id: 'listQuarantine',
  tag: 'quarantine',
  summary: 'What could not be understood',
  description: 'Newest first.',
  answers: {
    200: {
      description: 'A page of messages.',
      schema: QuarantinePage,
      example: { data: [message], nextCursor: null } satisfies z.input<typeof QuarantinePage>,
    },
  },
};

export const getQuarantined: Operation = {
  id: 'getQuarantined',
  tag: 'quarantine',
  summary: 'One message',
  description: 'That could not be understood.',
  answers: { 200: { description: 'The message.', schema: QuarantinedMessage, example: message } },
  problems: ['unknown-message'],
};

export const deleteQuarantined: Operation = {
  id: 'deleteQuarantined',
  tag: 'quarantine',
  summary: 'Remove a message',
  description: 'Nobody needs to look at it any more.',
  answers: { 204: { description: 'It is removed.' } },
  problems: ['unknown-message'],
};
