// Thousands of readers of the log in a process of their own, each on a connection of its own: `stream-readers.ts <url> <count> <key> [<query>]`,
// `{n}` in the query being the number of the reader. It says `ready` when every stream is open; then for each line `expect <n>` it answers, once every reader has so many events, with what they
// were told, as one line of JSON. How late an event is counts from its `at`, the moment of the decision before the commit.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { percentile } from './stats.ts';

export type Told = {
  readonly readers: number;
  /** Events of the reader who was told least, and most. */
  readonly least: number;
  readonly most: number;
  /** Readers whose positions add up to the same as those of the first. */
  readonly alike: number;
  readonly positions: number;
  /** Events that came again, or after a later one. */
  readonly disordered: number;
  readonly closed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

type Reader = { events: number; position: number; positions: number; isHead: boolean; rest: string };

const [url = '', countText = '0', key = '', query = ''] = process.argv.slice(2);
const { hostname, port, host } = new URL(url);
const openingAtOnce = 50;
const openMsMax = 30_000;
const lookEveryMs = 100;

const readers: Reader[] = [];
const sockets: Socket[] = [];
/** How many were so many ms late. */
let late: number[] = [];
let [disordered, closed] = [0, 0];
/** Of the events that are on their way to the readers. */
const decidedAtMs = new Map<number, number>();

function atMsOf(position: number, block: string): number {
  const known = decidedAtMs.get(position);
  if (known !== undefined) return known;
  const from = block.lastIndexOf('"at":"') + 6;
  const atMs = Date.parse(block.slice(from, block.indexOf('"', from)));
  decidedAtMs.set(position, atMs);
  return atMs;
}

function take(reader: Reader, block: string, nowMs: number): void {
  // Heartbeats and the first word have an id, or none, and no data.
  if (!block.includes('\ndata:')) return;
  const position = Number(block.slice(block.indexOf('id:') + 3, block.indexOf('\n', block.indexOf('id:'))));
  if (position <= reader.position) disordered += 1;
  reader.position = position;
  reader.positions += position;
  reader.events += 1;
  const ms = Math.max(0, nowMs - atMsOf(position, block));
  late[ms] = (late[ms] ?? 0) + 1;
}

/** What is in chunks does not hold what ends a block, but for one: their sizes stand on lines of their own. */
function hear(reader: Reader, text: string): void {
  const nowMs = Date.now();
  let heard = reader.rest + text;
  if (reader.isHead) {
    const end = heard.indexOf('\r\n\r\n');
    if (end < 0) {
      reader.rest = heard;
      return;
    }
    if (!heard.startsWith('HTTP/1.1 200 ')) throw new Error(`a stream was refused: ${heard}`);
    reader.isHead = false;
    heard = heard.slice(end + 4);
  }
  let from = 0;
  for (let end = heard.indexOf('\n\n'); end >= 0; end = heard.indexOf('\n\n', from)) {
    take(reader, heard.slice(from, end), nowMs);
    from = end + 2;
  }
  reader.rest = heard.slice(from);
}

async function open(): Promise<void> {
  const reader: Reader = { events: 0, position: 0, positions: 0, isHead: true, rest: '' };
  const socket = connect(Number(port), hostname);
  const path = `/events/stream?${query.replace('{n}', String(readers.length))}`;
  readers.push(reader);
  sockets.push(socket);
  socket.setEncoding('latin1');
  socket.on('data', (text) => hear(reader, String(text)));
  socket.on('close', () => {
    closed += 1;
  });
  await once(socket, 'connect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n\r\n`);
  const signal = AbortSignal.timeout(openMsMax);
  while (reader.isHead) await once(socket, 'data', { signal });
}

function told(): Told {
  const events = readers.map((reader) => reader.events);
  const [first] = readers;
  const latenesses = late.flatMap((count, ms) => [{ ms, count }]);
  const all = latenesses.reduce((sum, { count }) => sum + count, 0);
  const at = (share: number): number => {
    let passed = 0;
    for (const { ms, count } of latenesses) {
      passed += count;
      if (passed > share * all) return ms;
    }
    return latenesses.at(-1)?.ms ?? Number.NaN;
  };
  return {
    readers: readers.length,
    least: percentile(events, 0),
    most: percentile(events, 1),
    alike: readers.filter(({ positions }) => positions === first?.positions).length,
    positions: first?.positions ?? 0,
    disordered,
    closed,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: latenesses.at(-1)?.ms ?? Number.NaN,
  };
}

for (let opened = 0; opened < Number(countText); opened += openingAtOnce) {
  const count = Math.min(openingAtOnce, Number(countText) - opened);
  await Promise.all(Array.from({ length: count }, open));
}
process.stdout.write('ready\n');

for await (const line of createInterface({ input: process.stdin })) {
  const wanted = Number(line.replace('expect ', ''));
  const { promise, resolve } = Promise.withResolvers<void>();
  // Not with every event: the look goes over all readers.
  const timer = setInterval(() => {
    if (readers.every(({ events }) => events >= wanted)) resolve();
  }, lookEveryMs);
  await promise;
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify(told())}\n`);
  for (const reader of readers) [reader.events, reader.positions] = [0, 0];
  [late, disordered] = [[], 0];
  decidedAtMs.clear();
}
for (const socket of sockets) socket.destroy();
