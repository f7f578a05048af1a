// What those who ask all the time on one connection see when the server stops.

import { Agent, get } from 'node:http';
import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { ports, serve } from './serve.ts';

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
