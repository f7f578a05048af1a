// The log of what happened to a user, oldest first.

import { z } from 'zod';
import type { UserId } from '../../core/ids.ts';
import { listEventsOfUser } from '../answers/events.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import type { HttpServer } from '../instance.ts';
import { PageQuery, UserPath } from '../parameters.ts';
import { eventBody, type LoggedEvent } from '../render.ts';

const cursor = defineCursor('user-events', z.strictObject({ afterSequence: z.int().min(0) }));

export type EventsOfUserPort = (
  userId: UserId,
  page: { readonly afterSequence: number; readonly limit: number },
) => Promise<readonly LoggedEvent[]>;

export function eventRoutes(app: HttpServer, eventsOfUser: EventsOfUserPort): void {
  app.get(
    '/users/:id/events',
    {
      config: { scope: 'events:read', operation: listEventsOfUser },
      schema: { params: UserPath, querystring: PageQuery },
    },
    async (request, reply) =>
      sendPage(reply, request.query, {
        cursor,
        first: { afterSequence: 0 },
        read: (from, limit) => eventsOfUser(request.params.id, { ...from, limit }),
        placeOf: ({ sequence }) => ({ afterSequence: sequence }),
        itemOf: eventBody,
      }),
  );
}
