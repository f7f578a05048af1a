// Question: how late does a fact reach two thousand readers of GET /events/stream, and what does Willow hold in memory for them? Logins come at
// a steady rate through the broker; each is two events. Every reader must be told each of them once, in order.

import { setTimeout as delay } from 'node:timers/promises';
import mqtt from 'mqtt';
import { startChild } from '../support/process.ts';
import { authorization, cpuMsOf, machineLoad, memoryMiBOf, print, type ReadStage } from './reads-stage.ts';
import { monotonicMs, shown, spreadOf } from './stats.ts';
import type { Told } from './stream-readers.ts';

export type StreamsOptions = {
  readonly rounds: number;
  readonly readers: number;
  readonly eventsPerSecond: number;
  readonly seconds: number;
};

const eventsPerLogin = 2;
const toldMsMax = 120_000;
const key = authorization.authorization.replace('Bearer ', '');

/** Each user once, evenly. */
export async function logIn(
  url: string,
  round: number,
  { eventsPerSecond, seconds }: Pick<StreamsOptions, 'eventsPerSecond' | 'seconds'>,
): Promise<number> {
  const client = await mqtt.connectAsync(url, { protocolVersion: 4, reconnectPeriod: 0, clientId: `streams-${round}` });
  const logins = (eventsPerSecond * seconds) / eventsPerLogin;
  const fromMs = monotonicMs();
  for (let n = 0; n < logins; n += 1) {
    await delay(Math.max(0, fromMs + (n * 1_000 * eventsPerLogin) / eventsPerSecond - monotonicMs()));
    const login = { userId: `streamed-${round}-${n}`, sessionId: 'phone', epoch: 1, device: { os: 'android' } };
    await client.publishAsync('/login', JSON.stringify(login), { qos: 1 });
  }
  await client.endAsync();
  return logins * eventsPerLogin;
}

/** What each reader must have been told. */
async function truth({ pool }: ReadStage, round: number): Promise<number> {
  const { rows } = await pool.query<{ positions: number }>(
    'select sum(position)::float8 as positions from events where user_id like $1',
    [`streamed-${round}-%`],
  );
  return rows[0]?.positions ?? 0;
}

export async function benchStreams(stage: ReadStage, options: StreamsOptions): Promise<void> {
  const { rounds, readers, eventsPerSecond, seconds } = options;
  await using willow = await stage.startWillow();
  const beforeMiB = memoryMiBOf(willow.child.pid, 'now');
  await using listening = await startChild(process.execPath, [
    'test/bench/stream-readers.ts',
    willow.http,
    String(readers),
    key,
  ]);
  await listening.line((line) => line === 'ready', 'ready', toldMsMax);
  const results = { p50: [] as number[], p99: [] as number[], max: [] as number[], cpu: [] as number[] };
  const answers = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const fromMs = cpuMsOf(willow.child.pid);
    const events = await logIn(stage.mosquitto.url, round, options);
    listening.process.stdin?.write(`expect ${events}\n`);
    const answer = await listening.line(
      (line) => line.startsWith('{') && !answers.has(line) && line,
      'told',
      toldMsMax,
    );
    answers.add(answer);
    const told = JSON.parse(answer) as Told;
    const isComplete = told.least === events && told.most === events && told.alike === readers;
    if (!isComplete || told.positions !== (await truth(stage, round)) || told.disordered > 0 || told.closed > 0) {
      throw new Error(`not every reader was told everything once and in order: ${answer}`);
    }
    results.p50.push(told.p50Ms);
    results.p99.push(told.p99Ms);
    results.max.push(told.maxMs);
    results.cpu.push(((cpuMsOf(willow.child.pid) - fromMs) * 1_000) / (events * readers));
    const latency = `p50 ${told.p50Ms}, p99 ${told.p99Ms}, max ${told.maxMs} ms`;
    print(
      `<!-- round ${round + 1}: ${latency}, ${memoryMiBOf(willow.child.pid, 'now').toFixed(0)} MiB; ${machineLoad()} -->`,
    );
  }
  const [nowMiB, peakMiB] = [memoryMiBOf(willow.child.pid, 'now'), memoryMiBOf(willow.child.pid, 'peak')];
  await willow.child.end('SIGTERM');
  const all = (eventsPerSecond * readers).toLocaleString('en');
  print(
    `\n| ${readers} readers, ${eventsPerSecond} events/s for ${seconds} s: ${all} messages/s (min / median / max of ${rounds} rounds) | |`,
  );
  print('|---|---|');
  for (const name of ['p50', 'p99', 'max'] as const)
    print(`| decided → received, ${name}, ms | ${shown(spreadOf(results[name]))} |`);
  print(`| µs of CPU of the process a message | ${shown(spreadOf(results.cpu), 1)} |`);
  print(
    `| resident MiB: before, at the end, the most ever held | ${[beforeMiB, nowMiB, peakMiB].map((mib) => mib.toFixed(0)).join(', ')} |`,
  );
}
