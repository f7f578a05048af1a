// Question: how long from a will to the 2xx of the receiver, while logouts come at a steady rate? From the moment the will is given to the
// broker to the moment the receiver answers, over a real Mosquitto, by one clock.

import { percentile, shown, spreadOf } from './stats.ts';
import {
  createEndpoint,
  latenciesMs,
  login,
  machineLoad,
  print,
  publishWills,
  removeEndpoint,
  type Stage,
} from './webhook-stage.ts';

export type LatencyOptions = { readonly rounds: number; readonly perSecond: number; readonly seconds: number };

/** What a backend asks for that acts once when somebody has gone, and one that wants everything. */
const variants = [
  { name: 'user.offline, one webhook a logout', types: ['user.offline'] },
  { name: 'all types, two webhooks a logout', types: ['session.ended', 'user.offline'] },
] as const;

export async function benchLatency(stage: Stage, { rounds, perSecond, seconds }: LatencyOptions): Promise<void> {
  await using database = await stage.createDatabase('latency');
  await using willow = await stage.startWillow(database);
  const results = variants.map(({ name, types }) => ({
    name,
    types,
    p50: [] as number[],
    p99: [] as number[],
    max: [] as number[],
  }));
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, { name, types, p50, p99, max }] of results.entries()) {
      const path = `/latency-${round}-${index}`;
      const users = Array.from({ length: perSecond * seconds }, (_, n) => `user-${n}`);
      const epoch = round * variants.length + index + 1;
      await login(stage, database, { users, epoch });
      const endpoint = await createEndpoint(willow, { url: `${stage.receiver.url}${path}`, events: types });
      const publishedAtMs = await publishWills(stage, { users, epoch, perSecond });
      await stage.receiver.when(path, users.length * types.length);
      const latencies = latenciesMs(await stage.receiver.arrivals(path), publishedAtMs);
      await removeEndpoint(willow, endpoint);
      p50.push(percentile(latencies, 0.5));
      p99.push(percentile(latencies, 0.99));
      max.push(Math.max(...latencies));
      print(
        `<!-- ${name}, round ${round + 1}: p50 ${p50.at(-1)?.toFixed(1)}, p99 ${p99.at(-1)?.toFixed(1)}, max ${max.at(-1)?.toFixed(1)} ms; ${machineLoad()} -->`,
      );
    }
  }
  await willow.child.end('SIGTERM');
  print(
    `\n| will → 2xx at ${perSecond} logouts/s (ms, min / median / max of ${rounds} rounds) | p50 | p99 | slowest |`,
  );
  print('|---|---|---|---|');
  for (const { name, p50, p99, max } of results) {
    print(`| ${name} | ${shown(spreadOf(p50), 1)} | ${shown(spreadOf(p99), 1)} | ${shown(spreadOf(max), 1)} |`);
  }
}
