// The HTTP server on a real socket, its ports plain functions in memory, and two ways to speak to it: as a client that obeys
// HTTP, and with any bytes at all.

import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { expect } from 'vitest';
import { SessionId, type UserId } from '../../src/core/ids.ts';
import type { PresenceSummary } from '../../src/core/presence.ts';
import type { HttpServer } from '../../src/http/instance.ts';
import { createHttpServer, type HttpDeps, listen } from '../../src/http/server.ts';
import { Turns } from '../../src/http/turns.ts';
import { type Route, withRoutes } from '../support/route-table.ts';
import { hooks } from './hook.ts';
import { keys } from './keys.ts';
import { MemoryLog, streamsOf } from './memory-log.ts';
import { message } from './message.ts';

/** Far more than any answer takes, on a slow machine too: who waits longer has met a bug. */
const waitMsMax = 20_000;

export class DatabaseAway extends Error {}

export type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string };
export type Call = {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
  /** The address that the call comes from. */
  readonly from?: string;
};
export type LogLine = { readonly level: number; readonly event: string; readonly [field: string]: unknown };

export type Served = AsyncDisposable & {
  readonly app: HttpServer;
  readonly url: string;
  readonly port: number;
  readonly routes: readonly Route[];
  readonly log: readonly LogLine[];
  readonly logText: () => string;
  readonly call: (call: Call) => Promise<Answer>;
  /** How many are open. */
  readonly connections: () => Promise<number>;
  /** Sends the bytes, and reads until the server closes the connection. */
  readonly raw: (bytes: string | Buffer) => Promise<Answer>;
};

export async function serve(deps: Partial<HttpDeps> = {}, logLevel = 'debug'): Promise<Served> {
  const lines: string[] = [];
  const logger = pino({ level: logLevel }, { write: (line: string) => void lines.push(line) });
  // They end with their server, and for good.
  const streams = streamsOf(new MemoryLog());
  const { app, routes } = withRoutes(() => createHttpServer({ ...ports, streams, logger, ...deps }));
  const url = await listen(app, { host: '127.0.0.1', port: 0 });
  const port = Number(new URL(url).port);
  const agent = new Agent({ keepAlive: true });
  return {
    app,
    url,
    port,
    routes,
    get log() {
      return lines.map((line) => JSON.parse(line) as LogLine);
    },
    logText: () => lines.join(''),
    call: (call) => answerTo(port, agent, call),
    connections: () => promisify<number>((done) => app.server.getConnections(done))(),
    raw: (bytes) => rawAnswer(port, bytes),
    [Symbol.asyncDispose]: async () => {
      agent.destroy();
      await app.close();
    },
  };
}

const nobody = (userId: UserId): PresenceSummary => ({
  userId,
  status: 'offline',
  sequence: 0,
  sinceMs: null,
  lastSeenAtMs: null,
  asOfMs: null,
  isStale: false,
});

/** Ports that know nothing and refuse nothing. */
export const ports: Omit<HttpDeps, 'logger'> = {
  apiKey: null,
  allowedOrigins: [],
  hasApi: true,
  cursorKey: 'a database',
  isUnavailable: (error) => error instanceof DatabaseAway,
  presence: async (userId) => ({ ...nobody(userId), revision: 0, sessions: [] }),
  presenceAsOf: async (userId, atMs) => ({
    kind: 'known',
    past: { userId, status: 'offline', sinceMs: null, sequence: 0, atMs },
  }),
  presenceLists: {
    queryPresence: async (userIds) => userIds.map(nobody),
    listPresence: async () => ({ users: [], nextAfter: null, head: 0 }),
    countPresence: async () => ({
      online: 0,
      lost: 0,
      sessions: 0,
      users: 0,
      asOfMs: null,
      isStale: false,
      position: 0,
    }),
  },
  listSessions: async () => [],
  kick: async () => 'done',
  prepared: {
    prepare: async ({ userId, sessionId }) => ({
      kind: 'prepared',
      sessionId: sessionId ?? SessionId.parse('made-up'),
      expiresAtMs: 0,
      will: { topic: `/logout/${encodeURIComponent(userId)}`, payload: { ticket: 't' } },
      birth: { topic: `/login/${encodeURIComponent(userId)}`, payload: { ticket: 't' } },
    }),
  },
  users: { erase: async () => undefined },
  eventsOfUser: async () => [],
  turns: new Turns({ underWayMax: 10_000, pastMax: 10_000, waitMsMax: 5_000, waitingBytesMax: 0 }, () => undefined),
  events: async () => ({ head: 0, trimmed: 0, upTo: 0, events: [] }),
  streams: streamsOf(new MemoryLog()),
  webhooks: hooks,
  keys,
  audit: async () => [],
  onRefused: () => undefined,
  tallyOf: () => () => undefined,
  // Tests say many wrong things from one address, and are gone when they stop.
  limits: { failuresMax: 10_000, partingMs: 0 },
  quarantine: { list: async () => [], get: async () => message, remove: async () => true },
  ready: async () => ({ isReady: true, checks: {} }),
  metrics: {
    gather: async () => undefined,
    render: async () => ({ contentType: 'text/plain; version=0.0.4; charset=utf-8', body: 'willow_up 1\n' }),
  },
};

async function answerTo(
  port: number,
  keepAlive: Agent,
  { method = 'GET', path, headers, body, from }: Call,
): Promise<Answer> {
  const signal = AbortSignal.timeout(waitMsMax);
  // Node sends a body with a GET or DELETE without saying how long it is.
  const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
  const all = { ...length, ...headers };
  const way = from === undefined ? { agent: keepAlive } : { agent: false, localAddress: from };
  const request = httpRequest({ host: '127.0.0.1', port, ...way, method, path, headers: all, signal });
  // Bytes, because with a text Node writes the headers in the encoding of the body.
  request.end(body === undefined ? undefined : Buffer.from(body));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  // One that has no end is over with its head.
  if (response.headers['content-type']?.startsWith('text/event-stream') === true) response.destroy();
  else for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

async function rawAnswer(port: number, bytes: string | Buffer): Promise<Answer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  // What was answered before a reset counts all the same.
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close', { signal: AbortSignal.timeout(waitMsMax) });
  return parseAnswer(Buffer.concat(chunks).toString());
}

function parseAnswer(text: string): Answer {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  return { status: Number(statusLine.split(' ')[1] ?? 0), headers, body: rest.join('\r\n\r\n') };
}

export type ProblemBody = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly errors?: readonly { readonly in: string; readonly name: string; readonly detail: string }[];
  readonly checks?: unknown;
};

/** That an answer is this problem, in full, and nothing of the inside. */
export function expectProblem(answer: Answer, status: number, slug: string): ProblemBody {
  expect(answer.status, answer.body).toBe(status);
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
  expect(answer.headers['x-content-type-options']).toBe('nosniff');
  expect(answer.headers['cache-control']).toBe('private, no-cache');
  const body = JSON.parse(answer.body) as ProblemBody;
  expect(body).toMatchObject({ type: `urn:willow:problem:${slug}`, status });
  expect(body.title.length).toBeGreaterThan(0);
  expect(answer.body).not.toMatch(/node_modules|\.ts:|FST_/u);
  return body;
}
