// More than can be done is refused at once, and what is being done is not disturbed.

import { afterEach, describe, expect, test } from 'vitest';
import { ended } from './ada.ts';
import { held } from './held.ts';
import { knowing, minted } from './keys.ts';
import { get, type Line, openLine, statusesOf } from './lines.ts';
import { expectProblem, serve } from './serve.ts';

const waits = { timeout: 20_000 };
const path = '/users/ada/sessions';
const lines: Line[] = [];

async function open(port: number): Promise<Line> {
  const line = await openLine(port);
  lines.push(line);
  return line;
}

function closeLines(): void {
  for (const { socket } of lines.splice(0)) socket.destroy();
}

afterEach(closeLines);

describe('as many requests as there may be are being worked on', () => {
  const limits = { requestsMax: 2 };

  test('another is refused before anybody is asked, and what tells of the process is answered', async () => {
    const { listSessions, askedTimes, mayAnswer } = held();
    const refused: string[] = [];
    await using served = await serve({ limits, listSessions, onRefused: (why) => refused.push(why) });
    const both = [served.call({ path }), served.call({ path })];
    await askedTimes(2);
    for (const call of [{ path }, { path: '/nowhere' }, { method: 'POST', path: '/webhooks', body: '{' }]) {
      const answer = await served.call(call);
      expectProblem(answer, 503, 'overloaded');
      expect(answer.headers['retry-after']).toBe('1');
    }
    for (const vital of ['/healthz', '/readyz', '/metrics']) {
      expect((await served.call({ path: vital })).status).toBe(200);
    }
    await askedTimes(2);
    mayAnswer.resolve();
    for (const answer of await Promise.all(both)) expect(answer.status).toBe(200);
    expect((await served.call({ path })).status).toBe(200);
    expect(refused).toEqual(['overloaded', 'overloaded', 'overloaded']);
  });

  test('those that tell of the process, and take as long as the database does, are none of them', async () => {
    const isReady = Promise.withResolvers<void>();
    const ready = async () => {
      await isReady.promise;
      return { isReady: true, checks: {} };
    };
    await using served = await serve({ limits: { ...limits, requestsPerConnectionMax: 3 }, ready });
    const waiting = [await open(served.port), await open(served.port)];
    for (const { socket } of waiting) socket.write(get('/readyz').repeat(3));
    expect((await served.call({ path })).status).toBe(200);
    // On one connection there are not more of them than of any others.
    waiting[0]?.socket.write(get('/readyz'));
    expect((await served.call({ path })).status).toBe(200);
    isReady.resolve();
    await expect
      .poll(() => waiting.map(({ heard }) => statusesOf(heard())), waits)
      .toEqual([
        [200, 200, 200, 503],
        [200, 200, 200],
      ]);
    for (let round = 0; round < 3; round += 1) expect((await served.call({ path })).status).toBe(200);
  });

  test('one whose caller has gone is still being worked on', async () => {
    const { listSessions, askedTimes, mayAnswer } = held();
    await using served = await serve({ limits, listSessions });
    const gone = [await open(served.port), await open(served.port)];
    for (const { socket } of gone) socket.write(get(path));
    await askedTimes(2);
    for (const { socket } of gone) socket.destroy();
    await expect.poll(() => served.connections(), waits).toBe(0);
    expectProblem(await served.call({ path }), 503, 'overloaded');
    mayAnswer.resolve();
    await expect.poll(async () => (await served.call({ path })).status, waits).toBe(200);
  });

  test('bodies that never come to an end take no place', async () => {
    await using served = await serve({ limits });
    // Before the server, which waits for what is half said.
    using _lines = { [Symbol.dispose]: closeLines };
    const head = 'DELETE /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    for (let count = 0; count < 5; count += 1) {
      const line = await open(served.port);
      line.socket.write(`${head}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n{`);
      await expect.poll(() => statusesOf(line.heard()), waits).toEqual([100]);
    }
    expect((await served.call({ path })).status).toBe(200);
  });

  test('one whose body comes to its end meanwhile is refused as well', async () => {
    const { listSessions, askedTimes, mayAnswer } = held();
    let kicks = 0;
    const kick = async () => {
      kicks += 1;
      return 'done' as const;
    };
    await using served = await serve({ limits, listSessions, kick });
    using _lines = { [Symbol.dispose]: closeLines };
    const late = await open(served.port);
    const head = 'DELETE /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    late.socket.write(`${head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{`);
    await expect.poll(() => statusesOf(late.heard()), waits).toEqual([100]);
    const both = [served.call({ path }), served.call({ path })];
    await askedTimes(2);
    late.socket.write('}');
    await expect.poll(() => statusesOf(late.heard()), waits).toEqual([100, 503]);
    expect(kicks).toBe(0);
    mayAnswer.resolve();
    for (const answer of await Promise.all(both)) expect(answer.status).toBe(200);
  });

  test('whatever becomes of a request, its place is free again', async () => {
    const fails = async () => {
      throw new Error('a defect');
    };
    await using served = await serve({ limits, listSessions: fails });
    for (let round = 0; round < 5; round += 1) {
      expect((await served.call({ path })).status).toBe(500);
      expect((await served.call({ path: `${path}?limit=x` })).status).toBe(400);
      expect((await served.call({ method: 'POST', path: '/webhooks', body: 'x' })).status).toBe(415);
      expect((await served.call({ method: 'HEAD', path: '/healthz' })).status).toBe(200);
    }
    expect((await served.call({ path: '/users/ada/presence' })).status).toBe(200);
  });
});

test('a connection has so many requests at once, the others are refused, and all are answered in their order', async () => {
  const { listSessions, askedTimes, mayAnswer } = held();
  await using served = await serve({ limits: { requestsPerConnectionMax: 3 }, listSessions });
  const line = await open(served.port);
  for (const asked of [1, 2, 3]) {
    line.socket.write(get(path));
    await askedTimes(asked);
  }
  line.socket.write(get(path));
  line.socket.write(get(path));
  const other = await open(served.port);
  other.socket.write(get(path));
  await askedTimes(4);
  mayAnswer.resolve();
  await expect.poll(() => statusesOf(line.heard()), waits).toEqual([200, 200, 200, 503, 503]);
  line.socket.write(get(path));
  await expect.poll(() => statusesOf(line.heard()).at(-1), waits).toBe(200);
});

test('somebody who sends more at once than a connection may have is cut off, and nobody else notices', async () => {
  const { listSessions, askedTimes, mayAnswer } = held();
  await using served = await serve({ limits: { requestsPerConnectionMax: 16 }, listSessions });
  const other = await open(served.port);
  other.socket.write(get(path));
  await askedTimes(1);
  const line = await open(served.port);
  line.socket.write(get(path).repeat(1_000));
  await expect.poll(() => line.isOver(), waits).toBe(true);
  expect(line.heard()).toBe('');
  mayAnswer.resolve();
  await expect.poll(() => statusesOf(other.heard()), waits).toEqual([200]);
  const most = await open(served.port);
  most.socket.write(get(path).repeat(16));
  await expect.poll(() => statusesOf(most.heard()), waits).toEqual(Array.from({ length: 16 }, () => 200));
});

test('when the requests of a turn have taken enough of it, the others are refused, but for those that tell of the process', async () => {
  await using served = await serve({ limits: { turnMsMax: 0.000_1 } });
  const line = await open(served.port);
  line.socket.write(get(path).repeat(3) + get('/healthz'));
  await expect.poll(() => statusesOf(line.heard()), waits).toEqual([200, 503, 503, 200]);
  expect(line.heard()).toMatch(/503 [^]*retry-after: 1\r\n[^]*urn:willow:problem:overloaded/u);
  line.socket.write(get(path));
  await expect.poll(() => statusesOf(line.heard()).slice(4), waits).toEqual([200]);
});

test('what tells of the process is recognised with a query too, has a turn of its own, and takes none from others', async () => {
  await using busy = await serve({ limits: { turnMsMax: 0.000_1 } });
  const line = await open(busy.port);
  line.socket.write(get(path).repeat(2) + get('/healthz?from=here'));
  await expect.poll(() => statusesOf(line.heard()), waits).toEqual([200, 503, 200]);
  await using asked = await serve({ limits: { vitalTurnMsMax: 0.000_1 } });
  const other = await open(asked.port);
  other.socket.write(get('/healthz').repeat(3) + get(path));
  await expect.poll(() => statusesOf(other.heard()), waits).toEqual([200, 503, 503, 200]);
});

test('an origin is no way around a turn that is spent, and a page of a named one may read why it is refused', async () => {
  const named = 'https://app.example.com';
  for (const [allowedOrigins, origin, allowed] of [
    [[], 'http://localhost:3000', null],
    [[named], 'http://localhost:3000', null],
    [[named], named, named],
  ] as const) {
    await using served = await serve({ limits: { turnMsMax: 0.000_1 }, allowedOrigins });
    const page = await open(served.port);
    page.socket.write(get(path).replace('\r\n', `\r\nOrigin: ${origin}\r\n`).repeat(2));
    await expect.poll(() => statusesOf(page.heard()), waits).toEqual([200, 503]);
    const [, refusal = ''] = page.heard().split('HTTP/1.1 503');
    expect(/^access-control-allow-origin: (.*)\r$/mu.exec(refusal)?.[1] ?? null).toBe(allowed);
    expect(/^vary: (.*)\r$/mu.exec(refusal)?.[1] ?? null).toBe(allowedOrigins.length === 0 ? null : 'Origin');
  }
});

describe('answers that nobody reads', () => {
  const device = { text: 'x'.repeat(1_000) };
  const many = Array.from({ length: 1_000 }, () => ({ ...ended, device }));
  const large = `${path}?limit=1000`;
  const mebibyte = 1024 * 1024;

  async function openDeaf(port: number, says: string): Promise<Line> {
    const line = await open(port);
    line.socket.pause();
    line.socket.write(says);
    return line;
  }

  test('are bounded: whoever holds most is cut off, and nobody else is refused', async () => {
    const dismissed: string[] = [];
    const onRefused = (why: string) => void dismissed.push(why);
    await using served = await serve({
      limits: { unreadBytesMax: 8 * mebibyte, turnMsMax: 60_000 },
      listSessions: async () => many,
      onRefused,
    });
    const deaf: Line[] = [];
    for (let count = 0; count < 4; count += 1) {
      deaf.push(await openDeaf(served.port, get(large).repeat(8)));
      for (const vital of ['/users/ada/presence', '/healthz', large]) {
        expect((await served.call({ path: vital })).status).toBe(200);
      }
    }
    await expect.poll(() => dismissed.length, waits).toBeGreaterThan(0);
    expect(new Set(dismissed)).toEqual(new Set(['unread']));
    for (const { socket } of deaf) socket.resume();
    await expect.poll(() => deaf.filter(({ isOver }) => isOver()).length, waits).toBe(dismissed.length);
  });

  test('are those of a key, on however many connections: another that reads slowly loses nothing', async () => {
    const [greedy, slow] = [minted(), minted()];
    const dismissed: string[] = [];
    await using served = await serve({
      apiKey: 'willow-key-0123456789abcdef',
      keys: knowing(greedy, slow),
      limits: { unreadBytesMax: 40 * mebibyte, turnMsMax: 60_000 },
      listSessions: async () => many,
      onRefused: (why) => dismissed.push(why),
    });
    const as = ({ key }: { readonly key: string }) =>
      get(large).replace('\r\n', `\r\nAuthorization: Bearer ${key}\r\n`);
    // More than any one of the other's, and less than all of those; the system keeps some of it for either.
    const slowly = await openDeaf(served.port, as(slow).repeat(14));
    for (let count = 0; count < 12; count += 1) await openDeaf(served.port, as(greedy).repeat(9));
    await expect.poll(() => dismissed.length, waits).toBeGreaterThan(0);
    slowly.socket.resume();
    await expect.poll(() => statusesOf(slowly.heard()), waits).toEqual(Array.from({ length: 14 }, () => 200));
    expect(slowly.isOver()).toBe(false);
  });

  test('keep their own connection from asking for more, and no other', async () => {
    const refused: string[] = [];
    let asked = 0;
    const listSessions = async () => {
      asked += 1;
      return many;
    };
    const onRefused = (why: string) => void refused.push(why);
    await using served = await serve({
      limits: { unreadBytesPerConnectionMax: 4 * mebibyte },
      listSessions,
      onRefused,
    });
    const deaf = await openDeaf(served.port, get(large).repeat(12));
    await expect.poll(() => asked, waits).toBe(12);
    expect((await served.call({ path: large })).status).toBe(200);
    deaf.socket.write(get('/users/ada/presence'));
    await expect.poll(() => refused, waits).toEqual(['overloaded']);
    deaf.socket.resume();
    await expect.poll(() => statusesOf(deaf.heard()), waits).toEqual([...Array.from({ length: 12 }, () => 200), 503]);
    deaf.socket.write(get('/users/ada/presence'));
    await expect.poll(() => statusesOf(deaf.heard()).at(-1), waits).toBe(200);
  });
});
