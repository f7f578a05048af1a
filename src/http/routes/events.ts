// The log of what happened to a user, oldest first.

import { z } from 'zod';
import type { UserId } from '../../core/ids.ts';
import { defineCursor, pageOf } from '../cursor.ts';
import type { HttpServer } from '../instance.ts';
import { PageQuery, UserPath } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { eventBody, type LoggedEvent } from '../render.ts';

const cursor = defineCursor('user-events', z.strictObject({ afterSequence: z.int().min(0) }));

export type EventsOfUserPort = (
  userId: UserId,
  page: { readonly afterSequence: number; readonly limit: number },
) => Promise<readonly LoggedEvent[]>;

export function eventRoutes(app: HttpServer, eventsOfUser: EventsOfUserPort): void {
  app.get(
    '/users/:id/events',
    { config: { scope: 'events:read' }, schema: { params: UserPath, querystring: PageQuery } },
    async (request, reply) => {
      const { limit, cursor: text } = request.query;
      const position = text === undefined ? { afterSequence: 0 } : cursor.decode(text);
      if (position === null) return sendProblem(reply, { type: 'bad-cursor' });
      const events = await eventsOfUser(request.params.id, { ...position, limit: limit + 1 });
      return pageOf(events, limit, {
        itemOf: eventBody,
        cursorOf: ({ sequence }) => cursor.encode({ afterSequence: sequence }),
      });
    },
  );
}
