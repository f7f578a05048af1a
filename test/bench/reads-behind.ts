// Questions: how soon has a crowd caught up that is far behind, each for one user, and what do those at the end of the log notice of it? And
// what does a crowd weigh that takes nothing, and what does somebody notice who is behind together with it?

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { startChild } from '../support/process.ts';
import { authorization, machineLoad, memoryMiBOf, print, type ReadStage } from './reads-stage.ts';
import { logIn } from './reads-streams.ts';
import { monotonicMs, shown, spreadOf } from './stats.ts';
import type { Told } from './stream-readers.ts';

export type BehindOptions = {
  readonly rounds: number;
  readonly crowds: readonly number[];
  readonly stuck: number;
  readonly live: number;
  readonly seconds: number;
};

const eventsBehind = 100_000;
const usersBehind = 2_000;
const eventsPerSecond = 50;
const waitMsMax = 300_000;
const key = authorization.authorization.replace('Bearer ', '');

/** Everybody's events take turns. Returns behind which position they are. */
async function fillLog({ pool }: ReadStage): Promise<number> {
  await pool.query(
    `insert into users (user_id, revision, sequence) select 'behind-' || n, 1, $1::int from generate_series(0, $2::int - 1) n`,
    [eventsBehind / usersBehind, usersBehind],
  );
  const { rows } = await pool.query<{ base: number }>(
    `with head as (update log_head set position = position + $1::int returning position - $1::int as base)
     insert into events (position, user_id, sequence, type, session_id, epoch, device, at)
     select head.base + n + 1, 'behind-' || n % $2::int, n / $2::int + 1, 'user.online', 'phone', 1700000000000 + n,
       '{"os":"android","app":"4.2.0"}', now() from head, generate_series(0, $1::int - 1) n
     returning position::float8 - 1 as base`,
    [eventsBehind, usersBehind],
  );
  await pool.query('vacuum analyze events');
  return rows[0]?.base ?? 0;
}

async function openReaders(http: string, count: number, query = '') {
  const readers = await startChild(process.execPath, ['test/bench/stream-readers.ts', http, String(count), key, query]);
  const told = async (events: number): Promise<Told> => {
    readers.process.stdin?.write(`expect ${events}\n`);
    return JSON.parse(await readers.line((line) => line.startsWith('{') && line, 'told', waitMsMax)) as Told;
  };
  return { told, ready: () => readers.line((line) => line === 'ready', 'ready', waitMsMax), child: readers };
}

async function catchUp(stage: ReadStage, after: number, crowd: number, round: number, options: BehindOptions) {
  await using willow = await stage.startWillow();
  const live = await openReaders(willow.http, options.live);
  await using _live = live.child;
  await live.ready();
  const writing = logIn(stage.mosquitto.url, crowd * 10 + round, { eventsPerSecond, seconds: options.seconds });
  await delay(1_000);
  const fromMs = monotonicMs();
  const behind = await openReaders(willow.http, crowd, `after=${after}&user=behind-{n}`);
  await using _behind = behind.child;
  await behind.ready();
  const { most, disordered, closed } = await behind.told(eventsBehind / usersBehind);
  const caughtUpMs = monotonicMs() - fromMs;
  if (most !== eventsBehind / usersBehind || disordered + closed > 0) throw new Error('not told once and in order');
  const { p99Ms, maxMs } = await live.told(await writing);
  print(
    `<!-- ${crowd} behind: ${caughtUpMs.toFixed(0)} ms; live p99 ${p99Ms}, max ${maxMs} ms; peak ${memoryMiBOf(willow.child.pid, 'peak').toFixed(0)} MiB; ${machineLoad()} -->`,
  );
  return { caughtUpMs, p99Ms, maxMs };
}

/** Each from a place of its own, and with a filter, so that no two hold the same bytes. */
async function beStuck(http: string, after: number, count: number): Promise<readonly Socket[]> {
  const { hostname, port, host } = new URL(http);
  const ask = async (n: number): Promise<Socket> => {
    const socket = connect(Number(port), hostname).on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(
      `GET /events/stream?type=user.online&after=${after + n} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n\r\n`,
    );
    return socket;
  };
  const sockets: Socket[] = [];
  for (let opened = 0; opened < count; opened += 50) {
    sockets.push(
      ...(await Promise.all(Array.from({ length: Math.min(50, count - opened) }, (_, n) => ask(opened + n)))),
    );
  }
  return sockets;
}

/** What the process holds outside the heap of its code: above all what waits for callers. */
async function outsideMiBOf(http: string): Promise<number> {
  const text = await (await fetch(`${http}/metrics`, { headers: authorization })).text();
  return Number(/^nodejs_external_memory_bytes (\S+)$/mu.exec(text)?.[1]) / 2 ** 20;
}

async function beside(stage: ReadStage, after: number, { stuck }: BehindOptions) {
  await using willow = await stage.startWillow();
  const beforeMiB = await outsideMiBOf(willow.http);
  const sockets = await beStuck(willow.http, after, stuck);
  await delay(2_000);
  const fromMs = monotonicMs();
  const well = await openReaders(willow.http, 1, `after=${after}`);
  await using _well = well.child;
  await well.ready();
  await well.told(eventsBehind);
  const caughtUpMs = monotonicMs() - fromMs;
  await delay(20_000);
  const [heldMiB, peakMiB] = [await outsideMiBOf(willow.http), memoryMiBOf(willow.child.pid, 'peak')];
  for (const socket of sockets) socket.destroy();
  print(
    `<!-- ${stuck} stuck: ${beforeMiB.toFixed(0)} MiB outside the heap before, ${heldMiB.toFixed(0)} with them, ${peakMiB.toFixed(0)} resident at most; one who is well caught up in ${caughtUpMs.toFixed(0)} ms; ${machineLoad()} -->`,
  );
  return { heldMiB: heldMiB - beforeMiB, peakMiB, caughtUpMs };
}

export async function benchBehind(stage: ReadStage, options: BehindOptions): Promise<void> {
  const { rounds, crowds, stuck, live } = options;
  const after = await fillLog(stage);
  print(`\n| ${eventsBehind.toLocaleString('en')} events behind (min / median / max of ${rounds} rounds) | |`);
  print('|---|---|');
  const times = Array.from({ length: rounds }, (_, round) => round);
  for (const crowd of crowds) {
    const results: Awaited<ReturnType<typeof catchUp>>[] = [];
    for (const round of times) results.push(await catchUp(stage, after, crowd, round, options));
    const spread = (name: 'caughtUpMs' | 'p99Ms') => shown(spreadOf(results.map((result) => result[name])));
    print(`| ${crowd} readers of one user each: until the last has caught up, ms | ${spread('caughtUpMs')} |`);
    print(
      `| … ${live} readers at the end, ${eventsPerSecond} events/s: decided → received, p99, ms | ${spread('p99Ms')} |`,
    );
  }
  const results: Awaited<ReturnType<typeof beside>>[] = [];
  for (const _ of times) results.push(await beside(stage, after, options));
  const spread = (name: 'heldMiB' | 'peakMiB' | 'caughtUpMs') => shown(spreadOf(results.map((one) => one[name])));
  print(`| ${stuck} readers who take nothing: MiB that they hold | ${spread('heldMiB')} |`);
  print(`| … the most that the process ever held, resident MiB | ${spread('peakMiB')} |`);
  print(`| … until one who reads has caught up beside them, ms | ${spread('caughtUpMs')} |`);
}
