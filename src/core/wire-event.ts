// How an event reads wherever it appears, and the bodies that a receiver of webhooks may be sent: the shapes that the lanes write, the
// documents describe and the tests parse.

import { z } from 'zod';
import { idCharactersMax } from './ids.ts';
import { endReasons } from './session.ts';

/** Characters are code points here, which JSON Schema counts, and zod does not. */
const id = z.string().meta({ minLength: 1, maxLength: idCharactersMax });

const eventShape = {
  position: z
    .int()
    .min(1)
    .describe("The event's place in the log: it grows over all users, in the order of the commits."),
  sequence: z.int().min(1).describe("The event's place among its user's events: 1, 2, 3 … without gaps."),
  userId: id.describe('The user it is about.'),
  sessionId: id.describe('The session that it is about, or that caused it.'),
  epoch: z.int().min(0).nullable().describe('Of the connection of that session; null while none came with one.'),
  device: z.record(z.string(), z.unknown()).nullable().describe('What the client said of its device at its birth.'),
  at: z.iso.datetime().describe('When it was decided; never decreases for one user.'),
};
const reason = z.enum(endReasons).describe('How the session ended.');

const SessionStarted = z.object({ type: z.literal('session.started'), ...eventShape });
const SessionEnded = z.object({ type: z.literal('session.ended'), ...eventShape, reason });
const UserOnline = z.object({ type: z.literal('user.online'), ...eventShape });
const UserOffline = z.object({ type: z.literal('user.offline'), ...eventShape, reason });

export const wireEvents = {
  'session.started': SessionStarted,
  'session.ended': SessionEnded,
  'user.online': UserOnline,
  'user.offline': UserOffline,
} as const;

/** An event as it reads on the wire. */
export const WireEvent = z.discriminatedUnion('type', [SessionStarted, SessionEnded, UserOnline, UserOffline]);
export type WireEvent = z.infer<typeof WireEvent>;

const timestamp = z.iso.datetime().describe('When it happened, not when it was sent.');

/** The bodies that a receiver may be sent, by their type. */
export const webhookBodies = {
  'session.started': z.object({ type: z.literal('session.started'), timestamp, data: SessionStarted }),
  'session.ended': z.object({ type: z.literal('session.ended'), timestamp, data: SessionEnded }),
  'user.online': z.object({ type: z.literal('user.online'), timestamp, data: UserOnline }),
  'user.offline': z.object({ type: z.literal('user.offline'), timestamp, data: UserOffline }),
  batch: z.object({
    type: z.literal('batch'),
    timestamp,
    data: z.object({ events: z.array(WireEvent).min(1).describe('Of one lane, oldest first.') }),
  }),
  'webhook.test': z.object({
    type: z.literal('webhook.test'),
    timestamp,
    data: z.object({ endpointId: z.string().describe('The webhook that is tried out.') }),
  }),
} as const;

export const WebhookBody = z.discriminatedUnion('type', [
  webhookBodies['session.started'],
  webhookBodies['session.ended'],
  webhookBodies['user.online'],
  webhookBodies['user.offline'],
  webhookBodies.batch,
  webhookBodies['webhook.test'],
]);
export type WebhookBody = z.infer<typeof WebhookBody>;
