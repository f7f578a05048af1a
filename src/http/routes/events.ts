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
import { askerOf, type Turns } from '../turns.ts';

const Place = z.strictObject({ sequence: z.int().min(0), position: z.int().min(0) });
const cursor = defineCursor('user-events', Place);

/** Behind one event: erased, a user comes again with a sequence from 1, and with a position that is behind all others. Null begins with the oldest. Gone: the next one is no longer in the log, which now begins behind a position. */
export type EventsOfUserPort = (
  userId: UserId,
  page: { readonly after: z.infer<typeof Place> | null; readonly limit: number },
) => Promise<readonly LoggedEvent[] | { readonly kind: 'gone'; readonly startsAfter: number }>;

type EventPorts = { readonly eventsOfUser: EventsOfUserPort; readonly turns: Turns };

export function eventRoutes(app: HttpServer, { eventsOfUser, turns }: EventPorts): void {
  app.get(
    '/users/:id/events',
    {
      config: { scope: 'events:read', operation: listEventsOfUser },
      schema: { params: UserPath, querystring: PageQuery },
    },
    async (request, reply) =>
      sendPage(reply, request.query, {
        cursor,
        first: null,
        read: async (after, limit) => {
          const page = { after, limit };
          const events = await turns.take(askerOf(request), 'many', () => eventsOfUser(request.params.id, page));
          return 'kind' in events ? eventsGone(events.startsAfter) : events;
        },
        placeOf: ({ sequence, position }) => ({ sequence, position }),
        itemOf: eventBody,
      }),
  );
}
