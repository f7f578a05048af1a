// Whether a user is online, and whether he was. The most read route: it renders its answer itself, past any serialiser.

import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { PastPresence } from '../../core/as-of.ts';
import type { UserId } from '../../core/ids.ts';
import type { Presence as PresenceOfUser } from '../../core/presence.ts';
import { getPresence } from '../answers/presence.ts';
import { isKnown, presenceTag } from '../etag.ts';
import type { HttpServer } from '../instance.ts';
import { isoTime } from '../iso-time.ts';
import { TimeMs, UserPath } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { pastBody, presenceBody } from '../render.ts';
import { askerOf, type Turns } from '../turns.ts';

/** `revision` grows with every write of the user, his sessions included; 0 for a user who was never heard of. */
export type PresencePort = (userId: UserId) => Promise<PresenceOfUser & { readonly revision: number }>;

export type AsOf =
  | { readonly kind: 'known'; readonly past: PastPresence }
  /** The log no longer tells; it does from this time on. */
  | { readonly kind: 'gone'; readonly fromMs: number };
export type AsOfPort = (userId: UserId, atMs: number) => Promise<AsOf>;

const At = TimeMs.refine((timeMs) => timeMs <= Date.now(), 'must not be in the future');
const PresenceQuery = z.strictObject({
  at: At.optional().describe('What was at this time, which is not in the future.'),
});

export const presenceRoute = '/users/:id/presence';
export const presenceScope = 'presence:read';

export type PresencePorts = {
  readonly presence: PresencePort;
  readonly presenceAsOf: AsOfPort;
  readonly turns: Turns;
};

export function presenceRoutes(app: HttpServer, { presence, presenceAsOf, turns }: PresencePorts): void {
  app.get(
    presenceRoute,
    {
      config: { scope: presenceScope, operation: getPresence },
      schema: { params: UserPath, querystring: PresenceQuery },
    },
    // A promise of the text, not an async function: on this route a promise more is felt.
    (request, reply) => {
      const { params, query, headers } = request;
      const { at } = query;
      if (at !== undefined) {
        const asked = turns.take(askerOf(request), 'past', () => presenceAsOf(params.id, at));
        return asked.then((asOf) => sendAsOf(reply, asOf));
      }
      return presence(params.id).then((known) => {
        const tag = presenceTag(known);
        reply.header('etag', tag);
        if (isKnown(headers['if-none-match'], tag)) return reply.code(304).send();
        reply.header('content-type', 'application/json; charset=utf-8');
        return presenceText(known);
      });
    },
  );
}

export function presenceText(known: PresenceOfUser): string {
  return JSON.stringify(presenceBody(known));
}

function sendAsOf(reply: FastifyReply, asOf: AsOf): FastifyReply {
  if (asOf.kind === 'known') return reply.send(pastBody(asOf.past));
  const from = isoTime(asOf.fromMs);
  return sendProblem(reply, {
    type: 'events-gone',
    detail: `what was is known from ${from} on`,
    extensions: { from },
  });
}
