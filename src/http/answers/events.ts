// What the calls about the log of events answer, and what the documents say of them.

import { z } from 'zod';
import { WireEvent } from '../../core/wire-event.ts';
import { named, type Operation, pageOf } from '../openapi/operation.ts';
import { streamOf } from './streams.ts';

export const AnyEvent = WireEvent.register(named, { id: 'Event' });
export const UserEventPage = pageOf(AnyEvent, 'UserEventPage');

export const ended = {
  position: 118,
  sequence: 8,
  type: 'session.ended',
  userId: '42',
  sessionId: 'phone',
  epoch: 1795421999000,
  reason: 'will',
  device: null,
  at: '2026-11-23T08:20:05.000Z',
} as const satisfies z.input<typeof AnyEvent>;

export const listEventsOfUser: Operation = {
  id: 'listEventsOfUser',
  tag: 'events',
  summary: 'What happened to the user',
  description: 'Oldest first.',
  answers: {
    200: {
      description: 'A page of events.',
      schema: UserEventPage,
      example: { data: [ended], nextCursor: null } satisfies z.input<typeof UserEventPage>,
    },
  },
  problems: ['events-gone'],
};

const EventPage = z
  .object({
    data: z.array(AnyEvent).describe('The events of this page; with a filter a page may be short, or empty.'),
    nextCursor: z
      .string()
      .nullable()
      .describe('Handed back as `cursor` for the next page; null at the end of the log.'),
    position: z.int().min(0).describe('Everything up to here has been answered: go on from it with `after`.'),
  })
  .register(named, { id: 'EventPage' });

const EventStream = streamOf(
  'Event',
  'Blocks of `id` and `data`: the position of an event, and the event as JSON; and the last one, `event: closing`.',
).register(named, { id: 'EventStream' });

export const listEvents: Operation = {
  id: 'listEvents',
  tag: 'events',
  summary: 'What happened to everybody',
  description: 'The log, oldest first: behind `after`, or from the oldest that is kept.',
  answers: {
    200: {
      description: 'A page of events.',
      schema: EventPage,
      example: { data: [ended], nextCursor: null, position: 118 } satisfies z.input<typeof EventPage>,
    },
  },
  problems: ['events-gone'],
};

export const streamEvents: Operation = {
  id: 'streamEvents',
  tag: 'events',
  summary: 'What happens to everybody, as it happens',
  description:
    'Server-sent events, behind `Last-Event-ID` or `after`, and without either from now on. A beat of an `id` alone comes when nothing else ' +
    'has for 15 seconds. Before Willow ends it, `event: closing` says why: `slow`, `gone`, `ahead`, `key` or `shutdown`.',
  answers: {
    200: {
      description: 'The stream.',
      schema: EventStream,
      contentType: 'text/event-stream',
      headers: ['No-Store', 'X-Accel-Buffering'],
      example: `id: 118\ndata: ${JSON.stringify(ended)}\n\n`,
    },
  },
  problems: ['events-gone', 'too-many-streams'],
};
