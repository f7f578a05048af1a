// npm run bench:reads: what is asked of Willow, over a million users. One user at a time against a bare Fastify route that returns the same
// JSON; a thousand at once at a steady rate; all of them as a snapshot; and the log as a stream to thousands of readers, also of those
// who are far behind, or take nothing. Questions, method
// and traps: test/bench/README.md. Prints Markdown. Words behind it name the parts to run; all by default.

import { cpus } from 'node:os';
import { benchBehind } from './reads-behind.ts';
import { benchQuery } from './reads-query.ts';
import { benchSingle } from './reads-single.ts';
import { benchSnapshot } from './reads-snapshot.ts';
import { machineLoad, openReadStage, print, type ReadStage } from './reads-stage.ts';
import { benchStreams } from './reads-streams.ts';

const isQuick = process.argv.includes('--quick');
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'));

const parts: Readonly<Record<string, (stage: ReadStage) => Promise<void>>> = {
  single: (stage) => benchSingle(stage, { rounds: isQuick ? 2 : 7, seconds: isQuick ? 3 : 8 }),
  query: (stage) => benchQuery(stage, { rounds: isQuick ? 1 : 5, perSecond: 20, seconds: isQuick ? 3 : 20 }),
  snapshot: (stage) => benchSnapshot(stage, { rounds: isQuick ? 1 : 3 }),
  streams: (stage) =>
    benchStreams(stage, {
      rounds: isQuick ? 1 : 3,
      readers: isQuick ? 200 : 2_000,
      eventsPerSecond: 50,
      seconds: isQuick ? 5 : 30,
    }),
  behind: (stage) =>
    benchBehind(stage, {
      rounds: isQuick ? 1 : 3,
      crowds: isQuick ? [30] : [300, 2_000],
      stuck: isQuick ? 100 : 2_000,
      live: 200,
      seconds: isQuick ? 5 : 20,
    }),
};

print(`<!-- ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${machineLoad()} before the start -->`);
await using stage = await openReadStage();
for (const [name, bench] of Object.entries(parts)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  print(`\n<!-- ${name}: ${machineLoad()} before the start -->`);
  await bench(stage);
}
