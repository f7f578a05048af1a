// What those who ask all the time on one connection see when the server stops.

import { Agent, get } from 'node:http';
import { describe, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { ended } from './ada.ts';
import { openLine, get as says, statusesOf } from './lines.ts';
import { ports, serve } from './serve.ts';

const waits = { timeout: 20_000 };
const apiKey = 'a-key-of-twenty-characters';
const headers = { authorization: `Bearer ${apiKey}` };
/** The lane, the usual way, a list, what is refused, what is no route, what is open to all. */
const paths = [
  '/users/ann/presence',
  '/users/%61nn/presence',
  '/users/ann/sessions',
  '/users/ann/presence?what',
  '/nothing',
  '/healthz',
];

type Asked =
  | { readonly kind: 'answered'; readonly isLast: boolean }
  | { readonly kind: 'failed'; readonly code: string };

function ask(port: number, path: string, agent: Agent): Promise<Asked> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path, agent, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve({ kind: 'answered', isLast: response.headers.connection === 'close' }));
      response.on('error', () => resolve({ kind: 'failed', code: 'cut off' }));
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve({ kind: 'failed', code: error.code ?? '' }));
  });
}

test('who asks all the time on one connection loses no request when the server stops: his last answer says that it is the last', async () => {
  // More than the clients need, on a slow machine too.
  await using served = await serve({ apiKey, limits: { partingMs: 500 } });
  const agent = new Agent({ keepAlive: true, maxSockets: 24 });
  const answers: Asked[] = [];
  const askOn = async (path: string): Promise<void> => {
    for (;;) {
      const asked = await ask(served.port, path, agent);
      // A new connection that is refused asks nothing.
      if (asked.kind === 'failed' && asked.code === 'ECONNREFUSED') return;
      answers.push(asked);
    }
  };
  const clients = Array.from({ length: 4 }, () => paths.map(askOn)).flat();
  await until('each to be answered often', () => answers.length > 20 * clients.length);
  expect(answers.filter((answer) => answer.kind === 'failed' || answer.isLast)).toEqual([]);
  const closed = served.app.close();
  await Promise.all(clients);
  await closed;
  expect(answers.filter(({ kind }) => kind === 'failed')).toEqual([]);
  // Each connection ends with it.
  const last = answers.filter((answer) => answer.kind === 'answered' && answer.isLast);
  expect(last.length).toBeGreaterThanOrEqual(clients.length);
  agent.destroy();
});

test.each(['/users/ann/presence', '/users/%61nn/presence'])(
  'what %s is asked before the server stops, and answered afterwards, is the last of its connection',
  async (path) => {
    const asked = Promise.withResolvers<void>();
    const known = Promise.withResolvers<void>();
    const presence: typeof ports.presence = (userId) => {
      asked.resolve();
      return known.promise.then(async () => ports.presence(userId));
    };
    await using served = await serve({ apiKey, presence, limits: { partingMs: 500 } });
    const other = new Agent({ keepAlive: true });
    expect(await ask(served.port, '/healthz', other)).toEqual({ kind: 'answered', isLast: false });
    const agent = new Agent({ keepAlive: true });
    const answer = ask(served.port, path, agent);
    await asked.promise;
    const closed = served.app.close();
    expect(await ask(served.port, '/healthz', other)).toEqual({ kind: 'answered', isLast: true });
    known.resolve();
    expect(await answer).toEqual({ kind: 'answered', isLast: true });
    await closed;
    agent.destroy();
    other.destroy();
  },
);

describe('what is asked behind an answer that was the last of its connection is not done', () => {
  const list = says('/users/ann/sessions?limit=1000');
  const kick = says('/users/ann/sessions').replace('GET', 'DELETE');
  const lastsOf = (heard: string): boolean[] => {
    const [, ...answers] = heard.split('HTTP/1.1 ');
    return answers.map((answer) => /^connection: close\r$/imu.test(answer));
  };

  /** A server that counts the sessions that were ended, and lists them when it may; somebody on a connection; and how it begins to stop. */
  async function open(sessions: readonly (typeof ended)[]) {
    let kicks = 0;
    const asked = Promise.withResolvers<void>();
    const known = Promise.withResolvers<void>();
    const served = await serve({
      kick: async () => {
        kicks += 1;
        return 'done';
      },
      listSessions: async () => {
        asked.resolve();
        await known.promise;
        return sessions;
      },
      limits: { partingMs: 500, unreadBytesPerConnectionMax: Number.MAX_SAFE_INTEGER },
    });
    const line = await openLine(served.port);
    let closed: Promise<void> | null = null;
    return {
      line,
      asked: asked.promise,
      answer: known.resolve,
      kicks: () => kicks,
      beginToStop: async () => {
        closed = served.app.close();
        await expect.poll(() => served.app.server.listening, waits).toBe(false);
      },
      isOver: () => expect.poll(() => line.isOver(), waits).toBe(true),
      [Symbol.asyncDispose]: async () => {
        known.resolve();
        line.socket.destroy();
        await (closed ?? served.app.close());
      },
    };
  }

  test('where all of it comes while the server stops', async () => {
    await using server = await open([]);
    const { line } = server;
    await server.beginToStop();
    line.socket.write(`${kick}${says('/users/ann/presence')}${kick}${kick}`);
    await server.isOver();
    expect(statusesOf(line.heard())).toEqual([204]);
    expect(lastsOf(line.heard())).toEqual([true]);
    expect(server.kicks()).toBe(1);
  });

  test('where what was asked before is the last, and is still being read', async () => {
    // More than the system takes for somebody who does not read.
    const device = { text: 'x'.repeat(30_000) };
    await using server = await open(Array.from({ length: 1_000 }, () => ({ ...ended, device })));
    const { line } = server;
    line.socket.pause();
    line.socket.write(list);
    await server.asked;
    await server.beginToStop();
    server.answer();
    await expect.poll(() => line.socket.bytesRead, waits).toBeGreaterThan(0);
    line.socket.write(kick.repeat(2));
    line.socket.resume();
    await server.isOver();
    expect(statusesOf(line.heard())).toEqual([200]);
    expect(lastsOf(line.heard())).toEqual([true]);
    expect(server.kicks()).toBe(0);
  });

  test('but where something came behind it meanwhile, that is the last, and is done', async () => {
    await using server = await open([]);
    const { line } = server;
    line.socket.write(list);
    await server.asked;
    await server.beginToStop();
    line.socket.write(kick.repeat(3));
    await expect.poll(() => server.kicks(), waits).toBeGreaterThan(0);
    server.answer();
    await server.isOver();
    expect(statusesOf(line.heard())).toEqual([200, 204]);
    expect(lastsOf(line.heard())).toEqual([false, true]);
    expect(server.kicks()).toBe(1);
  });
});
