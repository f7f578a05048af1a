// The server below the routes: how long and how large a request may be before it is one, and what is answered when it never
// becomes one. Every bound on a single connection stands here.

import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import type { Connections } from './connections.ts';
import { type Problem, rawAnswer, rawResponse } from './problems.ts';
import type { Shedding } from './shedding.ts';

export const socketLimits = {
  /** The request line counts too. */
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 15_000,
  /** For the whole request to arrive; how long an answer may take is for the ports to bound. */
  requestTimeoutMs: 30_000,
  /** Longer than the 60 s after which common load balancers close an idle connection, so that they close it and not us. */
  keepAliveTimeoutMs: 72_000,
  /** Without a byte in either direction: an answer that never comes. */
  connectionTimeoutMs: 120_000,
};
const timeoutCheckIntervalMs = 5_000;

export function createSocketServer(listener: RequestListener, connections: Connections, shedding: Shedding): Server {
  const server = createServer(
    {
      maxHeaderSize: socketLimits.headerBytesMax,
      headersTimeout: socketLimits.headersTimeoutMs,
      requestTimeout: socketLimits.requestTimeoutMs,
      connectionsCheckingInterval: timeoutCheckIntervalMs,
      keepAliveTimeout: socketLimits.keepAliveTimeoutMs,
      // A repeated Host or Authorization is then one that matches nothing, instead of the first one winning.
      joinDuplicateHeaders: true,
      // Node's own answer to a missing Host has no body; the routes' guard answers instead.
      requireHostHeader: false,
    },
    shedding.gate(listener),
  );
  server.setTimeout(socketLimits.connectionTimeoutMs);
  connections.watch(server);
  server.on('checkExpectation', (_request, response) => {
    response.writeHead(unmet.status, { ...unmet.headers, connection: 'close' }).end(unmet.body);
  });
  server.on('connect', (_request, socket: Socket) => {
    part(socket, { type: 'bad-request', detail: 'this is no proxy' });
  });
  return server;
}

/** The connections that there are go on. Node's own way for HTTP closes those at once that are idle, on which a request may be under way. */
export function stopListening(server: Server): void {
  if (server.listening) NetServer.prototype.close.call(server);
}

const unmet = rawAnswer({ type: 'expectation-failed', detail: 'only 100-continue is understood' });

const socketProblems: Readonly<Record<string, Problem>> = {
  HPE_HEADER_OVERFLOW: {
    type: 'headers-too-large',
    detail: `the request line and the headers have at most ${socketLimits.headerBytesMax} bytes`,
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { type: 'body-too-large', detail: 'the chunks of the body have extensions' },
  ERR_HTTP_REQUEST_TIMEOUT: {
    type: 'request-timeout',
    detail: `the headers arrive within ${socketLimits.headersTimeoutMs} ms, the whole request within ${socketLimits.requestTimeoutMs} ms`,
  },
};

/** Answers bytes that are no HTTP, and requests that stop arriving. */
export function answerClientError({ code }: { readonly code: string }, socket: Socket): void {
  part(socket, socketProblems[code] ?? { type: 'bad-request' });
}

/** How long somebody may take to read why, before the connection is over all the same. */
const partingMsMax = 1_000;

/** The last word on a connection. Nobody else closes it: Node does not know it any more, and the other end need not hang up. */
function part(socket: Socket, problem: Problem): void {
  // The name that Node gives it, for its own handler of this kind: the response that is under way on the connection.
  const { _httpMessage: response } = socket as { _httpMessage?: ServerResponse | null };
  // Bytes of ours in the middle of a response, or before that to an earlier request, would be taken for it.
  const isOwedAnother = response != null && (response.headersSent || response.req.complete);
  if (!socket.writable || isOwedAnother) {
    socket.destroy();
    return;
  }
  const timer = setTimeout(() => socket.destroy(), partingMsMax);
  socket.once('close', () => clearTimeout(timer));
  socket.end(rawResponse(problem), () => socket.destroy());
}
