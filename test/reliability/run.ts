// npm run reliability: what the tests show at a size that runs in minutes, at full size. `-- flood` runs the parts that are named, all of
// them otherwise; `-- --quick` runs them short. Prints Markdown for docs/reliability.md, and ends with 1 when anything was found wrong.

import { availableParallelism, cpus, totalmem } from 'node:os';
import { flood } from './flood.ts';
import { follower } from './follower.ts';
import { fuzz } from './fuzz.ts';
import type { Part } from './part.ts';
import { slowClients } from './slow-clients.ts';

const parts: Readonly<Record<string, Part>> = { flood, 'slow-clients': slowClients, fuzz, follower };

const words = process.argv.slice(2);
const isQuick = words.includes('--quick');
const named = words.filter((word) => !word.startsWith('--'));
const unknown = named.filter((name) => !(name in parts));
if (unknown.length > 0)
  throw new Error(`there is no part ${unknown.join(', ')}, only ${Object.keys(parts).join(', ')}`);

print(
  `${availableParallelism()} cores (${cpus()[0]?.model}), ${Math.round(totalmem() / 1024 ** 3)} GiB, Node ${process.version}`,
);
for (const [name, part] of Object.entries(parts)) {
  if (named.length > 0 && !named.includes(name)) continue;
  print(`## ${part.title}`);
  const { report, harm } = await part.run(isQuick);
  print(report);
  for (const sentence of harm) print(`**Wrong:** ${sentence}.`);
  if (harm.length > 0) process.exitCode = 1;
}

function print(text: string): void {
  process.stdout.write(`${text}\n\n`);
}
