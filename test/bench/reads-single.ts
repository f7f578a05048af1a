// Question: what share of a bare Fastify route that returns the same JSON does GET /users/:id/presence reach, which goes to the database
// every time, and what does a request take of the process? Side by side, 64 connections, users at random.

import { startChild } from '../support/process.ts';
import { authorization, cpuMsOf, machineLoad, makeKeys, print, type ReadStage } from './reads-stage.ts';
import { shown, spreadOf } from './stats.ts';

const connections = 64;
const callers = 16;

type Target = { readonly http: string; readonly pid: number };
type Measured = { readonly requestsPerSecond: number; readonly p99: string; readonly cpuMicros: number };

async function measure({ http, pid }: Target, keys: readonly string[], seconds: number): Promise<Measured> {
  const limits = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--latency'];
  const fromMs = cpuMsOf(pid);
  await using wrk = await startChild('wrk', [...limits, '-s', 'test/bench/presence.lua', http, '--', ...keys]);
  await wrk.exited;
  const tookMs = cpuMsOf(pid) - fromMs;
  const text = wrk.lines.join('\n');
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(text)?.[1];
  const requests = /(\d+) requests in/.exec(text)?.[1];
  if (rate === undefined || requests === undefined || /Non-2xx/.test(text)) throw new Error(`wrk failed:\n${text}`);
  return {
    requestsPerSecond: Number(rate),
    p99: / 99%\s+(\S+)/.exec(text)?.[1] ?? '?',
    cpuMicros: (tookMs * 1_000) / Number(requests),
  };
}

export async function benchSingle(
  stage: ReadStage,
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<void> {
  await using willow = await stage.startWillow();
  const keys = await makeKeys(willow.http, callers);
  const body = await (await fetch(`${willow.http}/users/user-4711/presence`, { headers: authorization })).text();
  await using bare = await startChild(process.execPath, ['test/bench/bare-server.ts', body]);
  const bareHttp = await bare.line((line) => line.startsWith('http') && line, 'its address');
  const results = [
    { name: 'bare', target: { http: bareHttp, pid: bare.pid }, rates: [] as number[], micros: [] as number[] },
    {
      name: 'presence',
      target: { http: willow.http, pid: willow.child.pid },
      rates: [] as number[],
      micros: [] as number[],
    },
  ];
  // The first round of a process runs code that is not compiled yet.
  for (const { target } of results) await measure(target, keys, Math.min(seconds, 3));
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, target, rates, micros } of results) {
      const { requestsPerSecond, p99, cpuMicros } = await measure(target, keys, seconds);
      rates.push(requestsPerSecond);
      micros.push(cpuMicros);
      const cpu = `${cpuMicros.toFixed(1)} µs of CPU a request`;
      print(`<!-- round ${round + 1}: ${name} ${requestsPerSecond}/s, p99 ${p99}, ${cpu}; ${machineLoad()} -->`);
    }
  }
  await willow.child.end('SIGTERM');
  print('\n| route | requests/s (min / median / max) | µs of CPU a request, of its process |\n|---|---|---|');
  for (const { name, rates, micros } of results) {
    print(`| ${name} | ${shown(spreadOf(rates))} | ${shown(spreadOf(micros), 1)} |`);
  }
  const [plain, real] = results;
  const share = (of: readonly number[] = [], by: readonly number[] = []) =>
    shown(spreadOf(of.map((value, round) => value / (by[round] ?? Number.NaN))), 2);
  print(`| presence ÷ bare | ${share(real?.rates, plain?.rates)} | ${share(real?.micros, plain?.micros)} |`);
}
