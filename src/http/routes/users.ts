// Erasing a user: everything that Willow keeps of him, as if he had never been.

import type { UserId } from '../../core/ids.ts';
import { eraseUser } from '../answers/sessions.ts';
import { callerOf } from '../auth.ts';
import type { Caller, HttpServer } from '../instance.ts';
import { NoQuery, UserPath } from '../parameters.ts';

export type UsersPort = {
  /** Of a user who was never heard of there is nothing to erase, and that is well. */
  readonly erase: (userId: UserId, caller: Caller) => Promise<void>;
};

export function userRoutes(app: HttpServer, { erase }: UsersPort): void {
  app.delete(
    '/users/:id',
    { config: { scope: 'sessions:write', operation: eraseUser }, schema: { params: UserPath, querystring: NoQuery } },
    async (request, reply) => {
      await erase(request.params.id, callerOf(request));
      return reply.code(204).send();
    },
  );
}
