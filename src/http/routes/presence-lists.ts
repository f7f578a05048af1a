// Who is online, of many: of those who are named, of all page by page, and how many they are. A page says as of which position of the log it
// is, so that whoever has read all of them and then follows the log has a true copy.

import { setImmediate as immediate } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { idCharactersMax, UserId } from '../../core/ids.ts';
import type { PresenceSummary, ShownSession } from '../../core/presence.ts';
import { countPresences, listPresences, queryPresences } from '../answers/presence-lists.ts';
import { badCursor, defineCursor } from '../cursor.ts';
import type { HttpServer } from '../instance.ts';
import { NoQuery, PageQuery } from '../parameters.ts';
import { sendProblem } from '../problems.ts';
import { countsBody, listedBody } from '../render.ts';

export type ListedPresence = PresenceSummary & {
  /** Where they were asked for. */
  readonly sessions?: readonly ShownSession[];
};

export type PresenceCounts = {
  readonly online: number;
  readonly lost: number;
  readonly sessions: number;
  readonly users: number;
  readonly asOfMs: number | null;
  readonly isStale: boolean;
  readonly position: number;
};

type PageFilter = { readonly status: 'online' | 'offline' | null; readonly withSessions: boolean };

export type PresenceListsPort = {
  /** One for each id, in their order. */
  readonly queryPresence: (userIds: readonly UserId[], withSessions: boolean) => Promise<readonly ListedPresence[]>;
  /** By id. Short pages are not the end: that is where `nextAfter` is null. */
  readonly listPresence: (
    filter: PageFilter,
    page: { readonly limit: number; readonly after: UserId | null },
  ) => Promise<{ readonly users: readonly ListedPresence[]; readonly nextAfter: UserId | null; readonly head: number }>;
  /** One answer for all who ask at once. */
  readonly countPresence: () => Promise<PresenceCounts>;
};

/** `position` is that of the first page. */
const cursor = defineCursor('presence', z.strictObject({ after: UserId, position: z.int().min(0) }));

const flagSentence = 'must be true or false, given once';
const Flag = z
  .string(flagSentence)
  .regex(/^(?:true|false)$/u, flagSentence)
  .transform((text) => text === 'true')
  .default(false)
  .meta({ description: 'Whether the sessions are told too; false unless said.', type: 'boolean' });
const QueryQuery = z.strictObject({ sessions: Flag });
const ListQuery = PageQuery.extend({
  status: z
    .enum(['online', 'offline'], 'must be online or offline, given once')
    .optional()
    .describe('Only those who are.'),
  sessions: Flag,
});

const queriedMax = 1_000;
const idsSentence = `must be a list of 1 to ${queriedMax} ids`;
const UserIds = z.array(UserId, idsSentence).min(1, idsSentence).max(queriedMax, idsSentence);
const Queried = z.strictObject(
  { userIds: UserIds.describe('One answer for each, in this order.') },
  'must be a JSON object',
);
/** Each character of an id as two escapes of six, and room for what stands between the ids. */
export const queryBytesMax = 1024 * Math.ceil((queriedMax * (idCharactersMax * 12 + 16)) / 1024);

export function presenceListRoutes(
  app: HttpServer,
  { queryPresence, listPresence, countPresence }: PresenceListsPort,
): void {
  app.post(
    '/presence/query',
    {
      config: { scope: 'presence:read', operation: queryPresences },
      bodyLimit: queryBytesMax,
      schema: { body: Queried, querystring: QueryQuery },
    },
    async ({ body, query }, reply) => {
      const data = await rendered(await queryPresence(body.userIds, query.sessions));
      return sendText(reply, `{"data":${data}}`);
    },
  );

  app.get(
    '/presence',
    { config: { scope: 'presence:read', operation: listPresences }, schema: { querystring: ListQuery } },
    async (request, reply) => {
      const { limit, cursor: text, status = null, sessions: withSessions } = request.query;
      const place = text === undefined ? null : cursor.decode(request, text);
      if (text !== undefined && place === null) return sendProblem(reply, badCursor);
      const page = await listPresence({ status, withSessions }, { limit, after: place?.after ?? null });
      const { users, nextAfter, head } = page;
      const position = place?.position ?? head;
      const next = nextAfter === null ? null : cursor.encode(request, { after: nextAfter, position });
      const rest = JSON.stringify({ nextCursor: next, position, head });
      return sendText(reply, `{"data":${await rendered(users)},${rest.slice(1)}`);
    },
  );

  app.get(
    '/presence/counts',
    { config: { scope: 'presence:read', operation: countPresences }, schema: { querystring: NoQuery } },
    async () => countsBody(await countPresence()),
  );
}

function sendText(reply: FastifyReply, json: string): FastifyReply {
  return reply.header('content-type', 'application/json; charset=utf-8').send(json);
}

/** Others get their turn in between: with all of their sessions they may be many. */
const renderedAtOnceMax = 250;

async function rendered(users: readonly ListedPresence[]): Promise<string> {
  const texts: string[] = [];
  for (const [index, user] of users.entries()) {
    if (index > 0 && index % renderedAtOnceMax === 0) await immediate();
    texts.push(JSON.stringify(listedBody(user)));
  }
  return `[${texts.join(',')}]`;
}
