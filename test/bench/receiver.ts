// A backend of its own process: `receiver.ts` prints its address, answers 204 to every webhook at once (after 10 s below /slow), and keeps
// when each event was answered, by the clock that all processes of the machine share. It verifies nothing: how fast it is must not be what is measured.
//
//   POST /<path>                        a webhook
//   GET  /when?path=<prefix>&count=<n>  answers when that many events have come to the paths that begin so: when the last of them did
//   GET  /arrivals?path=<prefix>        [path, userId, type, ms] of every event
//   GET  /counts                        deliveries, events, and how many of those were repeats

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from './stats.ts';

type Received = { readonly position: number; readonly userId: string; readonly type: string };
type Body = Received | { readonly events: readonly Received[] };
export type Arrival = readonly [path: string, userId: string, type: string, atMs: number];

const slowMs = 10_000;
const arrivals = new Map<string, Arrival[]>();
const seen = new Map<string, Set<number>>();
const counts = { deliveries: 0, events: 0, repeats: 0 };
const waiting = new Set<() => void>();

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function take(path: string, body: Body): void {
  const ofPath = arrivals.get(path) ?? [];
  const known = seen.get(path) ?? new Set();
  arrivals.set(path, ofPath);
  seen.set(path, known);
  const atMs = monotonicMs();
  counts.deliveries += 1;
  for (const { position, userId, type } of 'events' in body ? body.events : [body]) {
    counts.events += 1;
    if (known.has(position)) counts.repeats += 1;
    else ofPath.push([path, userId, type, atMs]);
    known.add(position);
  }
  for (const look of waiting) look();
}

function* below(prefix: string): Generator<readonly Arrival[]> {
  for (const [path, ofPath] of arrivals) if (path.startsWith(prefix)) yield ofPath;
}

async function when(prefix: string, count: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => {
    let came = 0;
    for (const { length } of below(prefix)) came += length;
    if (came >= count) resolve();
  };
  waiting.add(look);
  look();
  await promise;
  waiting.delete(look);
  return Math.max(...[...below(prefix)].map((ofPath) => ofPath.at(-1)?.[3] ?? 0));
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://receiver');
  if (request.method === 'POST') {
    const { data } = JSON.parse(await textOf(request)) as { readonly data: Body };
    if (url.pathname.startsWith('/slow')) await delay(slowMs);
    take(url.pathname, data);
    response.writeHead(204).end();
    return;
  }
  const prefix = url.searchParams.get('path') ?? '/';
  let answer: unknown = counts;
  if (url.pathname === '/when') answer = await when(prefix, Number(url.searchParams.get('count')));
  if (url.pathname === '/arrivals') answer = [...below(prefix)].flat();
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
}

const server = createServer((request, response) => {
  serve(request, response).catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    response.destroy();
  });
});
server.keepAliveTimeout = 60_000;
server.requestTimeout = 0;
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
