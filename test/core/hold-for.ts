// How a law over generated histories is run, and what its failure tells: the seed, and the command that repeats it.

import fc from 'fast-check';
import { expect } from 'vitest';

/**
 * `FC_SEED` and `FC_PATH` repeat one failure; `FC_RUNS`, with `--testTimeout=0`, makes a soak of it. The default keeps all laws together
 * within seconds on a busy machine.
 */
export function holdFor<Values extends unknown[]>(property: fc.IProperty<Values>, numRuns = 300): void {
  const { FC_SEED, FC_PATH, FC_RUNS } = process.env;
  const details = fc.check(property, {
    numRuns: FC_RUNS === undefined ? numRuns : Number(FC_RUNS),
    ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }),
    ...(FC_PATH === undefined ? {} : { path: FC_PATH }),
  });
  if (!details.failed) return;
  const { currentTestName, testPath } = expect.getState();
  const name = (currentTestName ?? '').split(' > ').at(-1);
  throw new Error(
    [
      fc.defaultReportMessage(details),
      'Run it again with:',
      `  FC_SEED=${details.seed} FC_PATH=${details.counterexamplePath} npx vitest run --project core ${testPath} -t ${JSON.stringify(name)}`,
    ].join('\n'),
    { cause: details.errorInstance },
  );
}
