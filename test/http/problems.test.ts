import { once } from 'node:events';
import { connect, type Server } from 'node:net';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { commonHeaders } from '../../src/http/problems.ts';
import { answerOf, ownHeaders } from '../support/problem-pages.ts';
import { DatabaseAway, expectProblem, serve } from './serve.ts';

const connectionsOf = (server: Server): Promise<number> => promisify<number>((done) => server.getConnections(done))();
const rejects = (error: unknown) => async (): Promise<never> => {
  throw error;
};

test('what is nowhere is 404, for every method', async () => {
  await using served = await serve();
  const paths = ['/', '/users', '/users/ada/presence/', '/Users/ada/presence', '/healthz/', '//healthz'];
  const long = `/${'x'.repeat(8_000)}`;
  for (const path of [...paths, long, '/nowhere?a=%zz', '/users/ada/sessions/phone/more']) {
    expectProblem(await served.call({ path }), 404, 'not-found');
  }
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY']) {
    expectProblem(await served.call({ method, path: '/nowhere' }), 404, 'not-found');
  }
});

test('a method that a route does not know is 405, and says which it knows', async () => {
  await using served = await serve();
  const allowed: Record<string, string[]> = {
    '/users/ada/presence': ['GET', 'HEAD'],
    '/users/ada': ['DELETE'],
    '/users/ada/sessions': ['DELETE', 'GET', 'HEAD', 'POST'],
    '/users/ada/sessions/phone': ['DELETE'],
    '/users/ada/events?limit=1': ['GET', 'HEAD'],
    '/healthz': ['GET', 'HEAD'],
    '/metrics': ['GET', 'HEAD'],
  };
  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];
  for (const [path, known] of Object.entries(allowed)) {
    for (const method of methods.filter((one) => !known.includes(one))) {
      // Neither a broken body nor its type matters where nobody would read it.
      const body = { headers: { 'content-type': 'application/json' }, body: '{' };
      const answer = await served.call({ method, path, ...body });
      expectProblem(answer, 405, 'method-not-allowed');
      expect(answer.headers.allow?.split(', ').toSorted()).toEqual(known);
    }
  }
});

test('a parameter longer than any id is 414', async () => {
  await using served = await serve();
  expectProblem(await served.call({ path: `/users/${'x'.repeat(3_073)}/presence` }), 414, 'url-too-long');
});

const noHttp: Record<string, [bytes: string | Buffer, status: number, slug: string]> = {
  'a URL that is too long for any buffer': [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`, 431, 'headers-too-large'],
  'headers that are too large': [
    `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
    'headers-too-large',
  ],
  'no HTTP at all': ['hello\r\n\r\n', 400, 'bad-request'],
  'a TLS greeting': [Buffer.from('16030100c8010000c40303', 'hex'), 400, 'bad-request'],
  'HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'bad-request'],
  'an unknown method': ['FETCH / HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'bad-request'],
  'a space in the URL': ['GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'bad-request'],
  'bytes beyond ASCII in the URL': ['GET /users/é/presence HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'bad-request'],
  'two lengths': [
    'DELETE / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    400,
    'bad-request',
  ],
  'a length and chunks': [
    'DELETE / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
    'bad-request',
  ],
  'a broken chunk': [
    'DELETE /users/a/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    400,
    'bad-request',
  ],
  'a proxy request': ['CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'bad-request'],
  'no path': ['GET * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', 404, 'not-found'],
  'an expectation': ['GET / HTTP/1.1\r\nHost: localhost\r\nExpect: cake\r\n\r\n', 417, 'expectation-failed'],
};

test.each(Object.entries(noHttp))(
  '%s is answered with a problem, and the server lives on',
  async (_name, [bytes, status, slug]) => {
    await using served = await serve();
    const answer = await served.raw(bytes);
    expectProblem(answer, status, slug);
    if (answer.headers['content-length'] !== undefined)
      expect(Buffer.byteLength(answer.body)).toBe(Number(answer.headers['content-length']));
    expect((await served.call({ path: '/healthz' })).status).toBe(200);
    expect(served.log.filter(({ event }) => event === 'request.failed')).toEqual([]);
  },
);

// The server looks every five seconds.
test('a request that stops arriving, or never begins, is answered and its connection closed', async () => {
  await using served = await serve();
  const { server } = served.app;
  expect(server.headersTimeout).toBeLessThanOrEqual(15_000);
  server.headersTimeout = 100;
  const answers = await Promise.all([served.raw(''), served.raw('GET / HTTP/1.1\r\nHost: local')]);
  const page = answerOf('request-timeout');
  for (const answer of answers) {
    expectProblem(answer, 408, 'request-timeout');
    expect(JSON.parse(answer.body)).toEqual(page.body);
    expect(ownHeaders(answer.headers, commonHeaders)).toEqual(page.headers);
  }
}, 60_000);

test('every wait on a connection has an end', async () => {
  await using served = await serve();
  const { headersTimeout, requestTimeout, keepAliveTimeout, timeout } = served.app.server;
  for (const waitMs of [headersTimeout, requestTimeout, keepAliveTimeout, timeout]) {
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(120_000);
  }
});

/** Kicks that do not end before they may. */
function slowKick() {
  const mayAnswer = Promise.withResolvers<void>();
  let kicks = 0;
  const kick = async (): Promise<'done'> => {
    kicks += 1;
    await mayAnswer.promise;
    return 'done';
  };
  const begun = (count: number) => expect.poll(() => kicks, { timeout: 20_000 }).toBe(count);
  return { begun, mayAnswer, kick };
}

const kickBytes = 'DELETE /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n';

function open(port: number) {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => undefined);
  return { socket, received: () => Buffer.concat(chunks).toString() };
}

test('what follows a request that is still being answered never stands in for its answer', async () => {
  const { begun, mayAnswer, kick } = slowKick();
  await using served = await serve({ kick });
  const { socket, received } = open(served.port);
  socket.write(kickBytes);
  await begun(1);
  socket.write('garbage\r\n\r\n');
  await once(socket, 'close', { signal: AbortSignal.timeout(20_000) });
  mayAnswer.resolve();
  expect(received()).toBe('');
});

test('a client that goes away in the middle of its body is no failure of ours', async () => {
  await using served = await serve();
  const socket = connect(served.port, '127.0.0.1');
  socket.write(
    'DELETE /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{',
    () => socket.destroy(),
  );
  await once(socket, 'close', { signal: AbortSignal.timeout(20_000) });
  await expect.poll(() => connectionsOf(served.app.server), { timeout: 20_000 }).toBe(0);
  expect(served.log.filter(({ event }) => event === 'request.failed')).toEqual([]);
});

test('while the database is away the answer is 503, says when to come back, and is logged once', async () => {
  const away = rejects(new DatabaseAway('password=hunter2'));
  await using served = await serve({
    presence: away,
    listSessions: away,
    kick: away,
    eventsOfUser: away,
    ready: away,
    metrics: { gather: away, render: away },
  });
  const calls = [
    { path: '/users/ada/presence' },
    { path: '/users/ada/sessions' },
    { path: '/users/ada/events' },
    { path: '/readyz' },
    { path: '/metrics' },
    { method: 'DELETE', path: '/users/ada/sessions' },
    { method: 'DELETE', path: '/users/ada/sessions/phone' },
  ];
  for (const call of calls) {
    const answer = await served.call(call);
    expectProblem(answer, 503, 'database-unavailable');
    expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/u);
    expect(answer.body).not.toContain('hunter2');
  }
  const failed = served.log.filter(({ event }) => event === 'request.failed');
  expect(failed).toHaveLength(calls.length);
  expect(failed[0]).toMatchObject({ level: 40, route: '/users/:id/presence', status: 503 });
});

const defects: Record<string, unknown> = {
  'an error': new Error('secret detail'),
  'an error that claims a status': Object.assign(new Error('secret detail'), { statusCode: 404 }),
  'an error that claims a status and a code': Object.assign(new Error('secret detail'), {
    statusCode: 400,
    code: 'X_SECRET',
  }),
  'an error with headers': Object.assign(new Error('secret detail'), { headers: { 'x-secret': 'secret detail' } }),
  'a text': 'secret detail',
  nothing: undefined,
  null: null,
};

test.each(Object.entries(defects))(
  'a defect (%s) is 500 without a word of the inside, and an error in the log',
  async (_name, defect) => {
    await using served = await serve({
      presence: rejects(defect),
      listSessions: rejects(defect),
      kick: rejects(defect),
    });
    for (const call of [
      { path: '/users/ada/presence' },
      { path: '/users/ada/sessions' },
      { method: 'DELETE', path: '/users/ada/sessions/phone' },
    ]) {
      const answer = await served.call(call);
      expectProblem(answer, 500, 'internal');
      expect(JSON.stringify(answer).toLowerCase()).not.toContain('secret');
    }
    const failed = served.log.filter(({ event }) => event === 'request.failed');
    expect(failed.map(({ level }) => level)).toEqual([50, 50, 50]);
    expect(served.logText()).not.toContain('ada');
  },
);

test('a defect in rendering is 500 too', async () => {
  const presence = async () => ({ status: 'online' }) as never;
  await using served = await serve({ presence });
  expectProblem(await served.call({ path: '/users/ada/presence' }), 500, 'internal');
});

test('requests that have come are answered as ever while the server closes', async () => {
  const { begun, mayAnswer, kick } = slowKick();
  await using served = await serve({ kick });
  const { socket, received } = open(served.port);
  socket.write(kickBytes);
  await begun(1);
  const closed = served.app.close();
  await expect.poll(() => served.app.server.listening, { timeout: 20_000 }).toBe(false);
  socket.write(kickBytes);
  await begun(2);
  mayAnswer.resolve();
  await Promise.all([once(socket, 'close', { signal: AbortSignal.timeout(20_000) }), closed]);
  expect(received()).toMatch(/^HTTP\/1\.1 204 [^]*\nHTTP\/1\.1 204 [^]*$/u);
});

test('whoever asks for the end of the connection is told of it behind a body that is too large as well', async () => {
  await using served = await serve();
  const body = 'x'.repeat(70_000);
  const head = `POST /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
  const answer = await served.raw(`${head}Connection: close\r\n\r\n${body}`);
  expectProblem(answer, 413, 'body-too-large');
  expect(answer.headers.connection).toBe('close');
});

test('at the level of info only failures are logged', async () => {
  await using served = await serve({ presence: rejects(new Error('x')) }, 'info');
  await served.call({ path: '/healthz' });
  await served.call({ path: '/users/ada/presence' });
  expect(served.log.map(({ event }) => event)).toEqual(['request.failed']);
});
