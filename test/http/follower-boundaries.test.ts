// Where the bytes of a stream are cut on their way is nobody's choice: the position that the follower saves is never ahead of what it has applied.

import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Copy, follow, type LogEvent } from '../../examples/follower/follower.ts';

const events: LogEvent[] = [4, 5, 9].map((position) => ({
  position,
  sequence: position,
  type: 'session.started',
  userId: 'zoë',
  sessionId: 'phone',
  at: '2026-11-23T09:30:00.000Z',
}));
const heartbeatAt = 12;
const blockOf = (event: LogEvent) => `id: ${event.position}\ndata: ${JSON.stringify(event)}\n\n`;
const stream = Buffer.from(`retry: 2000\n\n${events.map(blockOf).join('')}:\nid: ${heartbeatAt}\n\n`);

type Run = { readonly cuts: readonly number[]; taken: PromiseWithResolvers<void> };

/** Of each answer, where it is cut. A piece is written when the one before it was taken: no two are read as one. */
const runs = new Map<string, Run>();

async function answer(run: Run, response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const [index, from] of [0, ...run.cuts].entries()) {
    run.taken = Promise.withResolvers<void>();
    response.write(stream.subarray(from, run.cuts[index]));
    await run.taken.promise;
  }
}

const server = createServer((request, response) => {
  const run = runs.get(request.url?.split('/')[1] ?? '');
  if (run === undefined) response.destroy();
  else void answer(run, response);
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

type Applied = {
  readonly positions: readonly number[];
  readonly applications: number;
  readonly ahead: readonly number[];
};

async function followCut(name: string, cuts: readonly number[]): Promise<Applied> {
  const run: Run = { cuts, taken: Promise.withResolvers() };
  runs.set(name, run);
  const stop = new AbortController();
  const positions: number[] = [];
  const ahead: number[] = [];
  let applications = 0;
  const copy: Copy = {
    position: () => 0,
    clear: () => undefined,
    add: () => undefined,
    complete: () => undefined,
    apply: (applied, position) => {
      applications += 1;
      positions.push(...applied.map((event) => event.position));
      if (events.some((event) => event.position <= position && !positions.includes(event.position)))
        ahead.push(position);
      run.taken.resolve();
      if (position === heartbeatAt) stop.abort();
      return true;
    },
  };
  const { port } = server.address() as AddressInfo;
  await follow({ url: `http://127.0.0.1:${port}/${name}` }, copy, stop.signal);
  return { positions, applications, ahead };
}

test('cut behind any one byte, each event is applied once, and before its position is saved', async () => {
  for (let cut = 1; cut < stream.length; cut += 1) {
    const applied = await followCut(`cut-${cut}`, [cut]);
    expect({ cut, ...applied }).toEqual({ cut, positions: [4, 5, 9], applications: 2, ahead: [] });
  }
});

test('cut behind every byte, too', async () => {
  const cuts = Array.from({ length: stream.length - 1 }, (_, index) => index + 1);
  const applied = await followCut('all', cuts);
  expect(applied).toEqual({ positions: [4, 5, 9], applications: stream.length, ahead: [] });
});
