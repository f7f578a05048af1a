// What the calls about the log of events answer, and what the documents say of them.

import type { z } from 'zod';
import { WireEvent } from '../../core/wire-event.ts';
import { named, type Operation, pageOf } from '../openapi/operation.ts';

export const AnyEvent = WireEvent.register(named, { id: 'Event' });
export const UserEventPage = pageOf(AnyEvent, 'UserEventPage');

export const ended: z.input<typeof AnyEvent> = {
  position: 118,
  sequence: 8,
  type: 'session.ended',
  userId: '42',
  sessionId: 'phone',
  epoch: 1795421999000,
  reason: 'will',
  device: null,
  at: '2026-11-23T08:20:05.000Z',
};

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
};
