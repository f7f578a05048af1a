// One user's presence, now and whenever it changes.

import { streamPresence } from '../answers/presence.ts';
import type { HttpServer } from '../instance.ts';
import { NoQuery, UserPath } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { isHead, type StreamDeps, sendHead } from './streaming.ts';

const schema = { params: UserPath, querystring: NoQuery };

export function presenceStreamRoutes(app: HttpServer, { streams, presence, handOver }: StreamDeps): void {
  app.get(
    '/users/:id/presence/stream',
    { config: { scope: 'presence:read', operation: streamPresence }, schema },
    async (request, reply) => {
      const userId = request.params.id;
      const first = await presence.first(userId);
      const full = streams.refusal(request);
      if (full !== null) return sendProblem(reply, full);
      if (isHead(request)) return sendHead(reply);
      handOver(request, reply.raw);
      presence.begin(request, reply, { userId, ...first });
      return reply;
    },
  );
}
