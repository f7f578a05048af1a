// npm run bench:webhooks: from a logout to the receiver's answer: how late, how fast when there is much, who holds up whom, and what it costs
// to write. Questions, method and traps: test/bench/README.md. Prints Markdown. Words behind it name the parts to run; all by default.

import { cpus } from 'node:os';
import { benchDrain } from './webhook-drain.ts';
import { benchIsolation } from './webhook-isolation.ts';
import { benchLatency } from './webhook-latency.ts';
import { benchNotify } from './webhook-notify.ts';
import { machineLoad, openStage, print, type Stage } from './webhook-stage.ts';
import { benchWrites } from './webhook-writes.ts';

const isQuick = process.argv.includes('--quick');
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'));

const parts: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  latency: (stage) => benchLatency(stage, { rounds: isQuick ? 1 : 5, perSecond: 500, seconds: isQuick ? 2 : 20 }),
  drain: (stage) => benchDrain(stage, { rounds: isQuick ? 1 : 3, events: isQuick ? 10_000 : 100_000 }),
  isolation: (stage) =>
    benchIsolation(stage, { rounds: isQuick ? 1 : 9, endpoints: 50, perSecond: 10, seconds: isQuick ? 2 : 20 }),
  writes: (stage) => benchWrites(stage, isQuick ? 50 : 500),
  notify: (stage) => benchNotify(stage, { rounds: isQuick ? 1 : 5, commits: isQuick ? 50 : 300 }),
};

print(`<!-- ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${machineLoad()} before the start -->`);
await using stage = await openStage();
for (const [name, bench] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await bench(stage);
