// What routes that answer with a stream share: where it comes from, and what HEAD is told of it.

import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EventStreams } from '../event-streams.ts';
import type { LogPages } from '../log-pages.ts';
import type { PresenceStreams } from '../presence-streams.ts';
import { streamHeaders } from '../stream.ts';
import type { Streams } from '../streams.ts';

export type StreamsPort = {
  readonly streams: Streams;
  readonly feed: { readonly pages: Pick<LogPages, 'ends'> };
  readonly events: EventStreams;
  readonly presence: PresenceStreams;
};

export type StreamDeps = StreamsPort & {
  /** The request is no work any more, though its answer has no end yet. */
  readonly handOver: (request: FastifyRequest, response: ServerResponse) => void;
};

export function isHead(request: FastifyRequest): boolean {
  return request.method === 'HEAD';
}

export function sendHead(reply: FastifyReply): FastifyReply {
  return reply.headers(streamHeaders).send('');
}
