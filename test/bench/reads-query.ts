// Question: how long does POST /presence/query take for a thousand ids, asked at a steady rate, whether or not the ones before are answered?
// Four fifths of the ids are online, the others are offline or were never heard of.

import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { authorization, cpuMsOf, machineLoad, print, type ReadStage, usersGone, usersOnline } from './reads-stage.ts';
import { monotonicMs, percentile, shown, spreadOf } from './stats.ts';

export type QueryOptions = { readonly rounds: number; readonly perSecond: number; readonly seconds: number };

const idsPerQuery = 1_000;

function pick(index: number): string {
  const upTo = (count: number) => 1 + Math.floor(Math.random() * count);
  if (index % 10 === 8) return `gone-${upTo(usersGone)}`;
  if (index % 10 === 9) return `nobody-${upTo(usersGone)}`;
  return `user-${upTo(usersOnline)}`;
}

const statusOf = (userId: string) => (userId.startsWith('user-') ? 'online' : 'offline');

function ask(http: string, agent: Agent, body: string): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const headers = { ...authorization, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const asked = request(`${http}/presence/query`, { method: 'POST', agent, headers }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('error', reject);
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
    });
  });
  asked.on('error', reject);
  asked.end(body);
  return promise;
}

/** From when it was due to the last byte of its answer. */
async function askDue(http: string, agent: Agent, dueAtMs: number): Promise<number> {
  const userIds = Array.from({ length: idsPerQuery }, (_, index) => pick(index));
  const body = JSON.stringify({ userIds });
  await delay(Math.max(0, dueAtMs - monotonicMs()));
  const { status, text } = await ask(http, agent, body);
  const tookMs = monotonicMs() - dueAtMs;
  if (status !== 200) throw new Error(`a query was answered with ${status}: ${text}`);
  const { data } = JSON.parse(text) as { data: { userId: string; status: string }[] };
  const isRight = userIds.every((id, index) => data[index]?.userId === id && data[index].status === statusOf(id));
  if (!isRight || data.length !== userIds.length) throw new Error('a query was answered with something else');
  return tookMs;
}

export async function benchQuery(stage: ReadStage, { rounds, perSecond, seconds }: QueryOptions): Promise<void> {
  await using willow = await stage.startWillow();
  const agent = new Agent({ keepAlive: true });
  const round = async (count: number): Promise<readonly number[]> => {
    const fromMs = monotonicMs() + 1_000;
    const due = Array.from({ length: count }, (_, n) => fromMs + (n * 1_000) / perSecond);
    return Promise.all(due.map((dueAtMs) => askDue(willow.http, agent, dueAtMs)));
  };
  await round(2 * perSecond);
  const results = { p50: [] as number[], p99: [] as number[], max: [] as number[], cpu: [] as number[] };
  for (let count = 0; count < rounds; count += 1) {
    const fromMs = cpuMsOf(willow.child.pid);
    const latencies = await round(perSecond * seconds);
    results.cpu.push((cpuMsOf(willow.child.pid) - fromMs) / latencies.length);
    results.p50.push(percentile(latencies, 0.5));
    results.p99.push(percentile(latencies, 0.99));
    results.max.push(Math.max(...latencies));
    const [p50, p99, max] = [results.p50, results.p99, results.max].map((of) => of.at(-1)?.toFixed(1));
    print(`<!-- round ${count + 1}: p50 ${p50}, p99 ${p99}, max ${max} ms; ${machineLoad()} -->`);
  }
  agent.destroy();
  await willow.child.end('SIGTERM');
  print(`\n| ${idsPerQuery} ids at ${perSecond}/s (ms, min / median / max of ${rounds} rounds) | |\n|---|---|`);
  for (const name of ['p50', 'p99', 'max', 'cpu'] as const) {
    print(`| ${name === 'cpu' ? 'CPU of the process, a query' : name} | ${shown(spreadOf(results[name]), 1)} |`);
  }
}
