// Whether a user is online. The most read route: it renders its answer itself, past any serialiser.

import type { UserId } from '../../core/ids.ts';
import type { Presence as PresenceOfUser } from '../../core/presence.ts';
import { getPresence } from '../answers/presence.ts';
import { isKnown, presenceTag } from '../etag.ts';
import type { HttpServer } from '../instance.ts';
import { NoQuery, UserPath } from '../parameters.ts';
import { presenceBody } from '../render.ts';

/** `revision` grows with every write of the user, his sessions included; 0 for a user who was never heard of. */
export type PresencePort = (userId: UserId) => Promise<PresenceOfUser & { readonly revision: number }>;

export function presenceRoutes(app: HttpServer, presence: PresencePort): void {
  app.get(
    '/users/:id/presence',
    {
      config: { scope: 'presence:read', operation: getPresence },
      schema: { params: UserPath, querystring: NoQuery },
    },
    // A promise of the text, not an async function: on this route a promise more is felt.
    (request, reply) =>
      presence(request.params.id).then((known) => {
        const tag = presenceTag(known);
        reply.header('etag', tag);
        if (isKnown(request.headers['if-none-match'], tag)) return reply.code(304).send();
        reply.header('content-type', 'application/json; charset=utf-8');
        return JSON.stringify(presenceBody(known));
      }),
  );
}
