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

const Message = z
  .object({
    topic: z.string().describe('Where the client publishes it.'),
    payload: z
      .record(z.string(), z.unknown())
      .describe('To be sent as JSON, once the client has added the `epoch` of its connection.'),
    qos: z.literal(1).describe('At least once.'),
    retain: z.literal(false).describe('Never retained.'),
  })
  .register(named, { id: 'PreparedMessage' });

export const PreparedSession = z
  .object({
    sessionId: z.string().describe('The session that was prepared.'),
    expiresAt: z.iso.datetime().describe('Births are heard until then; wills for ever.'),
    will: Message.describe('The Last Will that the client hands to the broker when it connects.'),
    birth: Message.describe('What the client publishes once it is connected.'),
  })
  .register(named, { id: 'PreparedSession' });

const ticket = 'eyJhbGciOiJIUzI1NiIsImtpZCI6Ik…';
const payload = { userId: 'ada', sessionId: 'phone', ticket };

export const prepareSession: Operation = {
  id: 'prepareSession',
  tag: 'sessions',
  summary: 'Prepare a login',
  description:
    'The will and the birth that a client is given, with a ticket in each: the proof that this backend let this session be spoken for. A ' +
    'request that may be sent twice carries an `Idempotency-Key`.',
  body: {
    name: 'NewSession',
    description: 'It may be left out, and so may any field of it.',
    example: { sessionId: 'phone', device: { os: 'ios' }, live: true },
  },
  answers: {
    201: {
      description: 'What the client is given.',
      headers: ['No-Store'],
      schema: PreparedSession,
      example: {
        sessionId: 'phone',
        expiresAt: '2026-12-23T10:00:00.000Z',
        will: { topic: '/logout/ada', payload, qos: 1, retain: false },
        birth: { topic: '/login/ada', payload: { device: { os: 'ios' }, ...payload }, qos: 1, retain: false },
      } satisfies z.input<typeof PreparedSession>,
    },
  },
  problems: ['session-unheard', 'idempotency-key-reused', 'no-secret-key'],
};

export const endSessionsOfUser: Operation = {
  id: 'endSessionsOfUser',
  tag: 'sessions',
  summary: 'End all sessions that are live',
  description:
    'They are over, with the reason `kicked`, before the answer is sent; of a user who has none there is nothing to end.',
  answers: { 204: { description: 'No session of the user is live.' } },
};

export const endSession: Operation = {
  id: 'endSession',
  tag: 'sessions',
  summary: 'End one session',
  description: 'It is over, with the reason `kicked`, before the answer is sent, and forgets its epoch.',
  answers: { 204: { description: 'The session is over.' } },
  problems: ['unknown-session'],
};

export const eraseUser: Operation = {
  id: 'eraseUser',
  tag: 'sessions',
  summary: 'Erase the user',
  description:
    'Sessions, events and everything else that is kept of the user, as if he had never been. Nobody is told of it.',
  answers: { 204: { description: 'Nothing is known of the user.' } },
};
