// What the calls about who is online answer, and what the documents say of them.

import { z } from 'zod';
import { named, type Operation } from '../openapi/operation.ts';
import { LiveSession, phone } from './sessions.ts';
import { streamOf } from './streams.ts';

export const Presence = z
  .object({
    userId: z.string().describe('The user.'),
    status: z.enum(['online', 'offline']).describe('`online` while any session is live.'),
    since: z.iso.datetime().nullable().describe('When the user last came online, or went offline; null: never.'),
    lastSeenAt: z.iso.datetime().nullable().describe('When a message of the user was last heard; null: never.'),
    sequence: z.int().min(0).describe("Of the user's newest event; 0 when there is none."),
    sessions: z.array(LiveSession).describe('Those that are live.'),
    asOf: z.iso.datetime().nullable().describe('When the broker was last heard: the answer is true of that time.'),
    stale: z.boolean().describe('Wills may have been missed: the link is down, or the user was not heard since a gap.'),
  })
  .register(named, { id: 'Presence' });

const PastPresence = z
  .object({
    userId: z.string().describe('The user.'),
    status: z.enum(['online', 'offline']).describe('What he was then.'),
    since: z.iso.datetime().nullable().describe('When he had last come online, or gone offline; null: never.'),
    sequence: z.int().min(0).describe('Of his newest event up to then; 0 when there was none.'),
    at: z.iso.datetime().describe('The time that was asked for.'),
  })
  .register(named, { id: 'PastPresence' });

/** With a time the past is told, of which less is known. */
export const PresenceAnswer = z.union([Presence, PastPresence]).register(named, { id: 'PresenceAnswer' });

const PresenceStream = streamOf(
  'Presence',
  'Blocks of `id` and `data`: a position of the log, and the presence as JSON; and the last one, `event: closing`.',
).register(named, { id: 'PresenceStream' });

export const ada = {
  userId: '42',
  status: 'online',
  since: '2026-11-23T08:00:00.000Z',
  lastSeenAt: '2026-11-23T08:20:00.000Z',
  sequence: 7,
  sessions: [phone],
  asOf: '2026-11-23T08:30:00.000Z',
  stale: false,
} satisfies z.input<typeof Presence>;

export const getPresence: Operation = {
  id: 'getPresence',
  tag: 'presence',
  summary: 'Is the user online',
  description:
    'A user who was never heard of is an answer too: `offline`, since never. With `at` it is told from the log what was at that time.',
  requestHeaders: ['If-None-Match'],
  answers: {
    200: {
      description: 'The user, and the sessions that are live.',
      headers: ['ETag'],
      schema: PresenceAnswer,
      example: ada,
    },
    304: { description: 'Nothing but `asOf` is different from what the caller has.', headers: ['ETag'] },
  },
  problems: ['events-gone'],
};

export const streamPresence: Operation = {
  id: 'streamPresence',
  tag: 'presence',
  summary: 'The presence of the user, whenever it changes',
  description:
    'Server-sent events: first the presence as it is, and then again whenever anything but `asOf` has changed. Before Willow ends it, ' +
    '`event: closing` says why.',
  answers: {
    200: {
      description: 'The stream.',
      schema: PresenceStream,
      contentType: 'text/event-stream',
      headers: ['No-Store', 'X-Accel-Buffering'],
      example: `id: 118\ndata: ${JSON.stringify(ada)}\n\n`,
    },
  },
  problems: ['too-many-streams'],
};
