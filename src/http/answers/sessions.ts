// What the calls about the sessions of a user answer, and what the documents say of them.

import { z } from 'zod';
import { endReasons } from '../../core/session.ts';
import { named, type Operation, pageOf } from '../openapi/operation.ts';

const common = {
  sessionId: z.string().describe('Which session of the user.'),
  epoch: z
    .int()
    .min(0)
    .nullable()
    .describe('Of its newest connection that was heard; null while there is none with one.'),
  clientId: z.string().nullable().describe('The client id that the client named; null where it named none.'),
  device: z.record(z.string(), z.unknown()).nullable().describe('What the client said of its device at its birth.'),
  startedAt: z.iso.datetime().describe('When it began.'),
  lastSeenAt: z.iso.datetime().describe('When it was last heard.'),
};

export const LiveSession = z
  .object({
    ...common,
    status: z
      .enum(['online', 'lost'])
      .describe('`lost`: its will came, and it may still come back while the grace runs.'),
  })
  .register(named, { id: 'LiveSession' });

const EndedSession = z
  .object({
    ...common,
    status: z.literal('ended').describe('It is over.'),
    endedAt: z.iso.datetime().describe('When it ended.'),
    reason: z.enum(endReasons).describe('How it ended.'),
  })
  .register(named, { id: 'EndedSession' });

export const SessionPage = pageOf(z.union([LiveSession, EndedSession]), 'SessionPage');

export const phone = {
  sessionId: 'phone',
  status: 'online',
  epoch: 1795421999000,
  clientId: '42-phone',
  device: { model: 'Pixel 12' },
  startedAt: '2026-11-23T08:00:00.000Z',
  lastSeenAt: '2026-11-23T08:20:00.000Z',
} satisfies z.input<typeof LiveSession>;

export const listSessionsOfUser: Operation = {
  id: 'listSessionsOfUser',
  tag: 'sessions',
  summary: 'The sessions of the user, ended ones too',
  description: 'Newest first.',
  answers: {
    200: {
      description: 'A page of sessions.',
      schema: SessionPage,
      example: {
        data: [{ ...phone, status: 'ended', endedAt: '2026-11-23T08:20:05.000Z', reason: 'will' }],
        nextCursor: null,
      } satisfies z.input<typeof SessionPage>,
    },
  },
};
