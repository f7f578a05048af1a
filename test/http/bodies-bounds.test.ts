// Bodies that come in whole or in part, many at once: what they weigh, and what they take of the process, has a bound.

import type { Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { PresenceListsPort } from '../../src/http/routes/presence-lists.ts';
import { knowing, minted } from './keys.ts';
import { get, type Line, openLine, statusesOf } from './lines.ts';
import { ports, type Served, serve } from './serve.ts';

const waits = { timeout: 20_000 };
const kibibyte = 1024;
const lines: Line[] = [];

function closeLines(): void {
  for (const { socket } of lines.splice(0)) socket.destroy();
}

afterEach(closeLines);

async function open(port: number): Promise<Line> {
  const line = await openLine(port);
  lines.push(line);
  return line;
}

/** Valid, and as long as that. */
function queryOf(bytes: number, id = 'ada'): string {
  const [begin, end] = [`{"userIds":["${id}"`, ']}'];
  return begin + ' '.repeat(bytes - begin.length - end.length) + end;
}

type How = { readonly key?: string; readonly length?: number };

/** Without a length the body comes in chunks. */
function headOf({ key, length }: How): string {
  const authorization = key === undefined ? '' : `Authorization: Bearer ${key}\r\n`;
  const framing = length === undefined ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`;
  const common = 'Host: localhost\r\nContent-Type: application/json\r\n';
  return `POST /presence/query HTTP/1.1\r\n${common}${authorization}${framing}\r\n\r\n`;
}

const chunkOf = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

/** Everything that is said on these connections has reached the server. */
function arrivals({ app }: Served) {
  const sockets: Socket[] = [];
  app.server.on('connection', (socket: Socket) => sockets.push(socket));
  const there = (): Socket[] => sockets.filter(({ destroyed }) => !destroyed);
  const bytes = (): number => there().reduce((sum, { bytesRead }) => sum + bytesRead, 0);
  const said = (): number => lines.reduce((sum, { socket }) => sum + socket.bytesWritten, 0);
  return { areThere: () => expect.poll(() => bytes() === said(), waits).toBe(true) };
}

type Said = { readonly body: string; readonly key?: string };

/** All but the last byte of each is there; then the last ones come at once, in this order. */
async function endAllAtOnce(served: Served, said: readonly Said[]): Promise<readonly Line[]> {
  const { areThere } = arrivals(served);
  const ending: Line[] = [];
  for (const { body, ...who } of said) {
    const line = await open(served.port);
    line.socket.write(headOf({ ...who, length: body.length }) + body.slice(0, -1));
    ending.push(line);
  }
  await areThere();
  for (const { socket } of ending) socket.write('}');
  return ending;
}

const endAtOnce = (served: Served, count: number, body: string): Promise<readonly Line[]> =>
  endAllAtOnce(
    served,
    Array.from({ length: count }, () => ({ body })),
  );

/** Tells of each query when it is asked for. */
function listsWith(onQuery: (userIds: readonly string[]) => void): PresenceListsPort {
  return {
    ...ports.presenceLists,
    queryPresence: async (userIds) => {
      onQuery(userIds);
      return [];
    },
  };
}

const statuses = (some: readonly Line[]): number[] => some.flatMap(({ heard }) => statusesOf(heard()));

test('large bodies that end at one moment are parsed one in each turn of the event loop, and all are answered', async () => {
  let turn = 0;
  let isOver = false;
  const count = (): void => {
    turn += 1;
    if (!isOver) setImmediate(count);
  };
  count();
  const turns: number[] = [];
  await using served = await serve({
    limits: { bodiesTurnMsMax: 0.000_1 },
    presenceLists: listsWith(() => turns.push(turn)),
  });
  using _lines = { [Symbol.dispose]: closeLines };
  const ending = await endAtOnce(served, 20, queryOf(100 * kibibyte));
  await expect.poll(() => statuses(ending), waits).toEqual(ending.map(() => 200));
  isOver = true;
  expect(new Set(turns).size).toBe(20);
});

test('of the large bodies that end at one moment those of each key have their turns: many of one do not hold up another', async () => {
  const [greedy, modest] = [minted(), minted()];
  const asked: (string | undefined)[] = [];
  await using served = await serve({
    apiKey: 'willow-key-0123456789abcdef',
    keys: knowing(greedy, modest),
    limits: { bodiesTurnMsMax: 0.000_1 },
    presenceLists: listsWith(([id]) => asked.push(id)),
  });
  using _lines = { [Symbol.dispose]: closeLines };
  const said = Array.from({ length: 15 }, () => ({ body: queryOf(100 * kibibyte, 'greedy'), key: greedy.key }));
  const last = { body: queryOf(100 * kibibyte, 'modest'), key: modest.key };
  const ending = await endAllAtOnce(served, [...said, last]);
  await expect.poll(() => statuses(ending), waits).toEqual(ending.map(() => 200));
  expect(asked.indexOf('modest')).toBeLessThanOrEqual(2);
});

test('a large body whose turn does not come in time is refused, and a small one needs none', async () => {
  const refused: string[] = [];
  await using served = await serve({ limits: { bodyWaitMsMax: 0 }, onRefused: (why) => refused.push(why) });
  using _lines = { [Symbol.dispose]: closeLines };
  const large = await endAtOnce(served, 3, queryOf(17 * kibibyte));
  await expect.poll(() => statuses(large), waits).toEqual([503, 503, 503]);
  expect(large[0]?.heard()).toContain('urn:willow:problem:overloaded');
  expect(refused).toEqual(['overloaded', 'overloaded', 'overloaded']);
  const small = await open(served.port);
  small.socket.write(headOf({ length: 16 * kibibyte }) + queryOf(16 * kibibyte));
  await expect.poll(() => statuses([small]), waits).toEqual([200]);
  // Nobody lost the connection.
  for (const { socket } of large) socket.write(get('/users/ada/presence'));
  await expect.poll(() => statuses(large), waits).toEqual([503, 200, 503, 200, 503, 200]);
});

test('small bodies that end at one moment take of the turn as heads do: the rest is refused', async () => {
  await using served = await serve({ limits: { turnMsMax: 0.000_1 } });
  using _lines = { [Symbol.dispose]: closeLines };
  const ending = await endAtOnce(served, 20, queryOf(kibibyte));
  await expect.poll(() => statuses(ending).length, waits).toBe(20);
  expect(new Set(statuses(ending))).toEqual(new Set([200, 503]));
});

test.each(['with a length', 'in chunks'])(
  'bodies that do not end, sent %s, have a bound: the largest of the key that holds most are refused, and nobody else',
  async (way) => {
    const [greedy, modest] = [minted(), minted()];
    const refused: string[] = [];
    await using served = await serve({
      apiKey: 'willow-key-0123456789abcdef',
      keys: knowing(greedy, modest),
      limits: { bodiesBytesMax: 2_048 * kibibyte },
      onRefused: (why) => refused.push(why),
    });
    using _lines = { [Symbol.dispose]: closeLines };
    const { areThere } = arrivals(served);
    const body = queryOf(501 * kibibyte);
    const [come, rest] = [body.slice(0, 500 * kibibyte), body.slice(500 * kibibyte)];
    const begin = async ({ key }: { readonly key: string }): Promise<Line> => {
      const line = await open(served.port);
      const isChunked = way === 'in chunks';
      line.socket.write(isChunked ? headOf({ key }) + chunkOf(come) : headOf({ key, length: body.length }) + come);
      await areThere();
      return line;
    };
    const end = ({ socket }: Line): void => void socket.write(way === 'in chunks' ? `${chunkOf(rest)}0\r\n\r\n` : rest);
    const own = await begin(modest);
    const others: Line[] = [];
    for (let n = 0; n < 8; n += 1) others.push(await begin(greedy));
    // With the modest one there is room for three.
    await expect.poll(() => statuses(others), waits).toEqual([503, 503, 503, 503, 503]);
    expect(refused).toEqual(['bodies', 'bodies', 'bodies', 'bodies', 'bodies']);
    expect(others.map(({ heard }) => heard()).join('')).toContain(
      'the bodies that are being sent are too much at once',
    );
    for (const line of [own, ...others]) end(line);
    await expect.poll(() => statuses([own]), waits).toEqual([200]);
    await expect
      .poll(() => statuses(others).toSorted((a, b) => a - b), waits)
      .toEqual([200, 200, 200, 503, 503, 503, 503, 503]);
    // Whoever was refused goes on where the body ends.
    for (const { socket } of others) socket.write(get('/healthz'));
    await expect.poll(() => statuses(others).length, waits).toBe(16);
    expect(refused.length).toBe(5);
  },
);

test('a body that comes byte by byte weighs what it takes to keep it', async () => {
  const refused: string[] = [];
  const limits = { bodiesBytesMax: 1_024 * kibibyte };
  await using served = await serve({ limits, onRefused: (why) => refused.push(why) });
  using _lines = { [Symbol.dispose]: closeLines };
  const line = await open(served.port);
  line.socket.write(headOf({}) + chunkOf(' ').repeat(10_000));
  await expect.poll(() => statuses([line]), waits).toEqual([503]);
  expect(refused).toEqual(['bodies']);
});

test('a body counts no more once it was answered, refused or given up', async () => {
  const refused: string[] = [];
  const limits = { bodiesBytesMax: 1_024 * kibibyte };
  await using served = await serve({ limits, onRefused: (why) => refused.push(why) });
  using _lines = { [Symbol.dispose]: closeLines };
  const { areThere } = arrivals(served);
  const body = queryOf(700 * kibibyte);
  const whole = headOf({ length: body.length }) + body;
  for (let round = 0; round < 5; round += 1) {
    const [taken, wrong] = [await open(served.port), await open(served.port)];
    taken.socket.write(whole);
    await expect.poll(() => statuses([taken]), waits).toEqual([200]);
    wrong.socket.write(whole.replace('{', '['));
    await expect.poll(() => statuses([wrong]), waits).toEqual([400]);
    const tooLarge = await open(served.port);
    const kick = `DELETE /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
    tooLarge.socket.write(`${kick}Transfer-Encoding: chunked\r\n\r\n${chunkOf(body)}`);
    await expect.poll(() => statuses([tooLarge]), waits).toEqual([413]);
    const gone = await open(served.port);
    gone.socket.write(whole.slice(0, -1));
    await areThere();
    closeLines();
    await expect.poll(() => served.connections(), waits).toBe(0);
  }
  expect(refused).toEqual([]);
});

test('whoever sends a body that is no JSON keeps the connection, and is answered what he asked behind it', async () => {
  await using served = await serve();
  using _lines = { [Symbol.dispose]: closeLines };
  const line = await open(served.port);
  line.socket.write(`${headOf({ length: 1 })}{${get('/users/ada/presence')}`);
  await expect.poll(() => statuses([line]), waits).toEqual([400, 200]);
  expect(line.heard()).not.toMatch(/^connection: close/imu);
});
