// Whether a user is online. The most read route: it renders its answer itself, past any serialiser.

import type { UserId } from '../../core/ids.ts';
import type { Presence as PresenceOfUser } from '../../core/presence.ts';
import type { HttpServer } from '../instance.ts';
import { UserPath } from '../parameters.ts';
import { presenceBody } from '../render.ts';

const jsonContentType = 'application/json; charset=utf-8';

export type PresencePort = (userId: UserId) => Promise<PresenceOfUser>;

export function presenceRoutes(app: HttpServer, presence: PresencePort): void {
  app.get(
    '/users/:id/presence',
    { config: { scope: 'presence:read' }, schema: { params: UserPath } },
    (request, reply) => {
      const send = (presence: PresenceOfUser): void => {
        reply.header('content-type', jsonContentType).send(JSON.stringify(presenceBody(presence)));
      };
      presence(request.params.id)
        .then(send)
        .catch((error: unknown) => reply.send(error));
    },
  );
}
