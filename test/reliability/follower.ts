// The reference follower through more faults than a test has time for.

import pg from 'pg';
import { faultKinds } from '../support/follower-faults.ts';
import { runFollowers } from '../support/follower-run.ts';
import { startPostgres } from '../support/postgres.ts';
import { chanceOf, stormRounds } from '../support/storm.ts';
import type { Part } from './part.ts';

const whole = (value: number) => Math.round(value).toLocaleString('en');

export const follower: Part = {
  title: 'Followers that are cut off',
  run: async (isQuick) => {
    await using postgres = await startPostgres();
    await using opened = new AsyncDisposableStack();
    const pool = opened.adopt(new pg.Pool({ connectionString: postgres.url }), (own) => own.end());
    const fromMs = performance.now();
    const database = { url: postgres.url, pool };
    const run = await runFollowers({ database, chance: chanceOf('followers'), rounds: isQuick ? 1 : stormRounds(20) });
    const ways = Object.entries(run.ways).map(([way, count]) => `${way}: ${whole(count)}`);
    const rows = [
      ['how users came and went', ways.join(' · ')],
      ['events', whole(run.events)],
      ...faultKinds.map((kind) => [kind, whole(run.faults[kind])]),
      ['snapshots that were begun again because Willow said so', whole(run.rebuilt.gone + run.rebuilt.ahead)],
      ['different states served as true, each compared with the log', whole(run.served)],
      ['states that were not what the log says, users who were wrong in the end', whole(run.harm.length)],
      ['it took, s', whole((performance.now() - fromMs) / 1_000)],
    ];
    const report = ['', '| | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
    return { report, harm: run.harm };
  },
};
