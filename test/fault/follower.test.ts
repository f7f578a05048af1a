// The reference follower keeps a true copy, whatever happens to it, to the network, to Willow or to the log.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { faultKinds } from '../support/follower-faults.ts';
import { runFollowers } from '../support/follower-run.ts';
import { chanceOf, stormRounds } from '../support/storm.ts';

test('two followers on two processes serve nothing but what the log says, wherever they are cut off, and end with what the database has', async ({
  annotate,
}) => {
  await using database = await createDatabase();
  const run = await runFollowers({ database, chance: chanceOf('followers'), rounds: stormRounds(2) });
  const { harm, ...told } = run;
  await annotate(JSON.stringify(told));
  expect(harm).toEqual([]);
  for (const kind of faultKinds) expect(run.faults[kind], kind).toBeGreaterThan(0);
  expect(run.rebuilt.gone).toBeGreaterThan(0);
  expect(run.served).toBeGreaterThan(100);
  expect(Object.keys(run.ways).length, 'ways to come and go').toBe(8);
});
