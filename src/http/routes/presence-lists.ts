// Who is online, of many: of those who are named, of all page by page, and how many they are. A page says as of which position of the log it
// is, so that whoever has read all of them and then follows the log has a true copy.

import { setImmediate as immediate } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { UserId } from '../../core/ids.ts';
import type { PresenceSummary, ShownSession } from '../../core/presence.ts';
import { countPresences, listPresences, queryPresences } from '../answers/presence-lists.ts';
import { badCursor, defineCursor } from '../cursor.ts';
import type { HttpServer } from '../instance.ts';
import { NoQuery, PageQuery } from '../parameters.ts';
import { type Problem, sendProblem } from '../problems.ts';
import { countsBody, listedBody } from '../render.ts';
import { askerOf, type Turns } from '../turns.ts';

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

/** For one answer; those of a repeated id count each time. */
type TooManySessions = { readonly kind: 'too-many-sessions'; readonly sessionsMax: number };
type PageFilter = { readonly status: 'online' | 'offline' | null; readonly withSessions: boolean };

export type PresenceListsPort = {
  /** One for each id, in their order. */
  readonly queryPresence: (
    userIds: readonly UserId[],
    withSessions: boolean,
  ) => Promise<readonly ListedPresence[] | TooManySessions>;
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
/** Each character of an id as two escapes of six, and room for what stands between the ids: 73 bytes each. */
export const queryBytesMax = 3 * 1024 * 1024;

type ListPorts = { readonly presenceLists: PresenceListsPort; readonly turns: Turns };

export function presenceListRoutes(app: HttpServer, { presenceLists, turns }: ListPorts): void {
  const { queryPresence, listPresence, countPresence } = presenceLists;
  app.post(
    '/presence/query',
    {
      config: { scope: 'presence:read', operation: queryPresences },
      bodyLimit: queryBytesMax,
      schema: { body: Queried, querystring: QueryQuery },
    },
    async (request, reply) => {
      const { userIds } = request.body;
      const read = () => queryPresence(userIds, request.query.sessions);
      const found = await turns.take(askerOf(request), 'many', read, bytesOf(userIds));
      if ('kind' in found) return sendProblem(reply, tooManySessions(found.sessionsMax));
      const { data, count } = await rendered(found);
      if (count < found.length) return sendProblem(reply, tooLong);
      return sendText(reply, `{"data":[${data}]}`);
    },
  );

  app.get(
    '/presence',
    { config: { scope: 'presence:read', operation: listPresences }, schema: { querystring: ListQuery } },
    async (request, reply) => {
      const { limit, cursor: text, status = null, sessions: withSessions } = request.query;
      const place = text === undefined ? null : cursor.decode(request, text);
      if (text !== undefined && place === null) return sendProblem(reply, badCursor);
      const wanted = { limit, after: place?.after ?? null };
      const page = await turns.take(askerOf(request), 'many', () => listPresence({ status, withSessions }, wanted));
      const { users, nextAfter, head } = page;
      const position = place?.position ?? head;
      const { data, count } = await rendered(users);
      // What would make the page too long is the next one.
      const after = count < users.length ? (users[count - 1]?.userId ?? null) : nextAfter;
      const next = after === null ? null : cursor.encode(request, { after, position });
      const rest = JSON.stringify({ nextCursor: next, position, head });
      return sendText(reply, `{"data":[${data}],${rest.slice(1)}`);
    },
  );

  app.get(
    '/presence/counts',
    { config: { scope: 'presence:read', operation: countPresences }, schema: { querystring: NoQuery } },
    async () => countsBody(await countPresence()),
  );
}

/** As they are kept: a character takes two bytes at most, and a text some more. */
function bytesOf(userIds: readonly UserId[]): number {
  return userIds.reduce((sum, { length }) => sum + 2 * length + 32, 0);
}

function sendText(reply: FastifyReply, json: string): FastifyReply {
  return reply.header('content-type', 'application/json; charset=utf-8').send(json);
}

/** Users and sessions: after so many others get their turn. */
const renderedAtOnceMax = 250;
/** Some ten thousand sessions of the size that they have; a single user is always told. */
export const answerCharactersMax = 8 * 1024 * 1024;

type Rendered = { readonly data: string; readonly count: number };

/** As many as there is room for, the first at least; each user once, however often he is told. */
async function rendered(users: readonly ListedPresence[]): Promise<Rendered> {
  const textOf = new Map<UserId, string>();
  const texts: string[] = [];
  let characters = 0;
  let sinceTurn = 0;
  for (const user of users) {
    let text = textOf.get(user.userId);
    if (text === undefined) {
      text = JSON.stringify(listedBody(user));
      textOf.set(user.userId, text);
      sinceTurn += 1 + (user.sessions?.length ?? 0);
    }
    characters += text.length + 1;
    if (characters > answerCharactersMax && texts.length > 0) break;
    texts.push(text);
    if (sinceTurn >= renderedAtOnceMax) {
      sinceTurn = 0;
      await immediate();
    }
  }
  return { data: texts.join(','), count: texts.length };
}

function tooManySessions(sessionsMax: number): Problem {
  const detail = `at most ${sessionsMax} in one answer, those of repeated ids each time: ask for fewer ids`;
  return { type: 'too-many-sessions', detail };
}

const tooLong: Problem = {
  type: 'too-many-sessions',
  detail: `an answer has at most ${answerCharactersMax} characters: ask for fewer ids`,
};
