// What could not be understood, for a person to look at: newest first, shown so that it does no harm where it is shown. It came from
// anybody who may publish.

import { z } from 'zod';
import { type QuarantineReason, quarantineReasons } from '../../core/signal.ts';
import { deleteQuarantined, getQuarantined, listQuarantine } from '../answers/quarantine.ts';
import { callerOf } from '../auth.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import type { Caller, HttpServer } from '../instance.ts';
import { MessagePath, NoQuery, PageQuery } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { quarantinedBody } from '../render.ts';

const cursor = defineCursor('quarantine', z.strictObject({ id: z.int().min(0) }));
const Reason = z.enum(quarantineReasons, 'must be a reason of the quarantine, given once');
const QuarantineQuery = PageQuery.extend({
  reason: Reason.optional().describe('Only those that are here for this reason.'),
});

export type Quarantined = {
  readonly id: number;
  readonly receivedAtMs: number;
  readonly topic: string;
  /** As far as it was kept. */
  readonly payload: Uint8Array;
  /** As it came. */
  readonly payloadBytes: number;
  readonly reason: string;
  readonly detail: string;
};

export type QuarantinePort = {
  /** Newest first. */
  readonly list: (page: {
    readonly limit: number;
    readonly before: number | null;
    readonly reason: QuarantineReason | null;
  }) => Promise<readonly Quarantined[]>;
  readonly get: (id: number) => Promise<Quarantined | null>;
  readonly remove: (id: number, caller: Caller) => Promise<boolean>;
};

export function quarantineRoutes(app: HttpServer, { list, get, remove }: QuarantinePort): void {
  app.get(
    '/quarantine',
    { config: { scope: 'quarantine:admin', operation: listQuarantine }, schema: { querystring: QuarantineQuery } },
    async (request, reply) => {
      const { reason = null } = request.query;
      return sendPage(reply, request.query, {
        cursor,
        first: { id: null },
        read: ({ id }, limit) => list({ limit, before: id, reason }),
        placeOf: ({ id }) => ({ id }),
        itemOf: quarantinedBody,
      });
    },
  );

  app.get(
    '/quarantine/:id',
    {
      config: { scope: 'quarantine:admin', operation: getQuarantined },
      schema: { params: MessagePath, querystring: NoQuery },
    },
    async (request, reply) => {
      const message = await get(request.params.id);
      return message === null ? sendProblem(reply, { type: 'unknown-message' }) : quarantinedBody(message);
    },
  );

  app.delete(
    '/quarantine/:id',
    {
      config: { scope: 'quarantine:admin', operation: deleteQuarantined },
      schema: { params: MessagePath, querystring: NoQuery },
    },
    async (request, reply) => {
      const isRemoved = await remove(request.params.id, callerOf(request));
      return isRemoved ? reply.code(204).send() : sendProblem(reply, { type: 'unknown-message' });
    },
  );
}
