// Question: what do the receivers that work notice of one that is down and one that answers after ten seconds? The same number of endpoints
// and the same logouts, with all of them well, and with those two among them, in turns.

import { findFreePort } from '../support/free-port.ts';
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

export type IsolationOptions = {
  readonly rounds: number;
  readonly endpoints: number;
  readonly perSecond: number;
  readonly seconds: number;
};

const variants = ['all well', 'one down, one slow'] as const;

export async function benchIsolation(stage: Stage, options: IsolationOptions): Promise<void> {
  const { rounds, endpoints, perSecond, seconds } = options;
  await using database = await stage.createDatabase('isolation');
  await using willow = await stage.startWillow(database);
  const create = (url: string) => createEndpoint(willow, { url, events: ['user.offline'] });
  const others = endpoints - 2;
  for (let n = 0; n < others; n += 1) await create(`${stage.receiver.url}/well/${n}`);
  const down = `http://127.0.0.1:${await findFreePort()}/down`;
  const results = variants.map((name) => ({ name, p50: [] as number[], p99: [] as number[], all: [] as number[] }));
  let waves = 0;
  let came = 0;
  /** Of the others, all of them. */
  const wave = async (): Promise<readonly number[]> => {
    waves += 1;
    const users = Array.from({ length: perSecond * seconds }, (_, n) => `wave-${waves}-${n}`);
    await login(stage, database, { users, epoch: waves });
    const publishedAtMs = await publishWills(stage, { users, epoch: waves, perSecond });
    came += users.length * others;
    await stage.receiver.when('/well/', came);
    return latenciesMs(await stage.receiver.arrivals('/well/'), publishedAtMs);
  };
  // Connections are opened, code is compiled.
  await wave();
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, p50, p99, all } of results) {
      const rest =
        name === 'all well'
          ? ['/too/0', '/too/1'].map((path) => `${stage.receiver.url}${path}`)
          : [down, `${stage.receiver.url}/slow`];
      const ids = await Promise.all(rest.map(create));
      const latencies = await wave();
      for (const id of ids) await removeEndpoint(willow, id);
      all.push(...latencies);
      p50.push(percentile(latencies, 0.5));
      p99.push(percentile(latencies, 0.99));
      print(
        `<!-- ${name}, round ${round + 1}: p50 ${p50.at(-1)?.toFixed(1)}, p99 ${p99.at(-1)?.toFixed(1)} ms; ${machineLoad()} -->`,
      );
    }
  }
  const failed = await willow.metric('willow_webhook_attempts_total', { outcome: 'failed' });
  if (failed === 0) throw new Error('nothing was sent to the endpoint that is down');
  await willow.child.end('SIGTERM');
  print(
    `\n| will → 2xx of the ${others} others at ${perSecond} logouts/s (ms, min / median / max of ${rounds} rounds) | p50 | p99 |\n|---|---|---|`,
  );
  for (const { name, p50, p99 } of results)
    print(`| ${name} | ${shown(spreadOf(p50), 1)} | ${shown(spreadOf(p99), 1)} |`);
  const [well, ill] = results;
  const ratios = ill?.p99.map((p99, round) => p99 / (well?.p99[round] ?? Number.NaN)) ?? [];
  const [wellMs, illMs] = results.map(({ all }) => percentile(all, 0.99));
  print(`\np99 with the two, as a multiple of that without, round by round: ${shown(spreadOf(ratios), 2)}`);
  print(`p99 over all rounds together: ${illMs?.toFixed(1)} ms with, ${wellMs?.toFixed(1)} ms without`);
}
