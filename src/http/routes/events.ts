// The log of what happened to a user, oldest first, as far back as it goes. A page that has to begin where it no longer goes is refused, so that
// nobody is let past a gap in silence.

import { z } from 'zod';
import type { UserId } from '../../core/ids.ts';
import { listEventsOfUser } from '../answers/events.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import type { HttpServer } from '../instance.ts';
import { PageQuery, UserPath } from '../parameters.ts';
import { eventsGone } from '../problems.ts';
import { eventBody, type LoggedEvent } from '../render.ts';

const cursor = defineCursor('user-events', z.strictObject({ afterSequence: z.int().min(0) }));

/** Null begins with the oldest. Gone: the next one is no longer in the log, which now begins behind a position. */
export type EventsOfUserPort = (
  userId: UserId,
  page: { readonly afterSequence: number | null; readonly limit: number },
) => Promise<readonly LoggedEvent[] | { readonly kind: 'gone'; readonly startsAfter: number }>;

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
        first: { afterSequence: null },
        read: async (from, limit) => {
          const events = await eventsOfUser(request.params.id, { ...from, limit });
          return 'kind' in events ? eventsGone(events.startsAfter) : events;
        },
        placeOf: ({ sequence }) => ({ afterSequence: sequence }),
        itemOf: eventBody,
      }),
  );
}
