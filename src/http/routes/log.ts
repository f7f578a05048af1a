// The log of everybody, oldest first, in pages or as a stream. What is gone is told with the place where the log begins now, and what has
// not happened yet with the place where it ends; nobody is led past a gap in silence.

import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { EventType } from '../../core/session.ts';
import { listEvents, streamEvents } from '../answers/events.ts';
import { badCursor, defineCursor } from '../cursor.ts';
import type { EventFilter } from '../event-streams.ts';
import { badInput } from '../failures.ts';
import type { HttpServer } from '../instance.ts';
import { LastEventIdHeader, LogQuery, LogStreamQuery } from '../parameters.ts';
import { eventsGone, type InputError, sendProblem } from '../problems.ts';
import { eventBody, type LoggedEvent } from '../render.ts';
import { askerOf, type Turns } from '../turns.ts';
import { isHead, type StreamDeps, sendHead } from './streaming.ts';

const cursor = defineCursor('events', z.strictObject({ after: z.int().min(0) }));

export type LogQuestion = {
  /** Null: from the oldest that is kept. */
  readonly after: number | null;
  readonly limit: number;
  readonly types: ReadonlySet<EventType> | null;
  readonly userId: string | null;
};

export type LogAnswer = {
  readonly head: number;
  /** Up to here events may be gone. */
  readonly trimmed: number;
  /** As many as were asked for and one more, or all of those that were looked for. */
  readonly events: readonly LoggedEvent[];
  /** Up to here was looked. */
  readonly upTo: number;
};

export type EventsPort = (question: LogQuestion) => Promise<LogAnswer>;

type LogPorts = { readonly events: EventsPort; readonly turns: Turns };

export function logRoutes(app: HttpServer, { events, turns }: LogPorts, streaming: StreamDeps): void {
  app.get(
    '/events',
    { config: { scope: 'events:read', operation: listEvents }, schema: { querystring: LogQuery } },
    async (request, reply) => {
      const { limit, cursor: text, after: asked } = request.query;
      const place = text === undefined ? { after: asked ?? null } : cursor.decode(request, text);
      if (place === null) return sendProblem(reply, badCursor);
      const question = { ...filterOf(request.query), ...place, limit };
      const answer = await turns.take(askerOf(request), 'many', () => events(question));
      const refused = refuse(reply, place.after, answer, {
        in: 'query',
        name: text === undefined ? 'after' : 'cursor',
      });
      if (refused !== null) return refused;
      const shown = answer.events.slice(0, limit);
      const position = answer.events.length > limit ? (shown.at(-1)?.position ?? 0) : answer.upTo;
      const nextCursor = position < answer.head ? cursor.encode(request, { after: position }) : null;
      return reply.send({ data: shown.map(eventBody), nextCursor, position });
    },
  );

  app.get(
    '/events/stream',
    { config: { scope: 'events:read', operation: streamEvents }, schema: streamSchema },
    async (request, reply) => {
      const { streams, feed, handOver } = streaming;
      const lastId = request.headers['last-event-id'];
      // A browser that comes back repeats the URL it began with.
      const asked = lastId ?? request.query.after ?? null;
      const ends = await feed.pages.ends();
      const source = lastId === undefined ? queryAfter : lastEventId;
      const refused = refuse(reply, asked, ends, source);
      if (refused !== null) return refused;
      const full = streams.refusal(request);
      if (full !== null) return sendProblem(reply, full);
      if (isHead(request)) return sendHead(reply);
      handOver(request, reply.raw);
      const after = asked ?? ends.head;
      streaming.events.begin(request, reply, { after, head: ends.head, filter: filterOf(request.query) });
      return reply;
    },
  );
}

const streamSchema = { querystring: LogStreamQuery, headers: LastEventIdHeader };
const queryAfter = { in: 'query', name: 'after' } as const;
const lastEventId = { in: 'header', name: 'Last-Event-ID' } as const;

function filterOf({ type, user }: z.output<typeof LogStreamQuery>): EventFilter {
  return { types: type ?? null, userId: user ?? null };
}

/** Null when the log has everything behind that place. */
function refuse(
  reply: FastifyReply,
  after: number | null,
  { head, trimmed }: Pick<LogAnswer, 'head' | 'trimmed'>,
  source: Pick<InputError, 'in' | 'name'>,
): FastifyReply | null {
  if (after !== null && after > head) {
    const problem = badInput([{ ...source, detail: `must not be beyond the end of the log, which is ${head}` }]);
    return sendProblem(reply, { ...problem, extensions: { head } });
  }
  return after === null || after >= trimmed ? null : sendProblem(reply, eventsGone(trimmed));
}
