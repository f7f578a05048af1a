// A million hostile messages on the topics of births and wills, through a real Mosquitto into a real Willow.

import { startTunedPostgres } from '../bench/tuned-postgres.ts';
import { growthOf, harmOf, pourFlood, rowsMax, warmUpMessages } from '../support/hostile-flood.ts';
import type { Part } from './part.ts';

const whole = (value: number) => Math.round(value).toLocaleString('en');

export const flood: Part = {
  title: 'A million hostile messages',
  run: async (isQuick) => {
    await using postgres = await startTunedPostgres();
    const messages = isQuick ? 2 * warmUpMessages : 1_000_000;
    const onPoured = (poured: number) => process.stderr.write(`flood: ${whole(poured)} messages\n`);
    const aftermath = await pourFlood({ databaseUrl: postgres.url, messages, onPoured });
    const { published, signals, quarantined, residentMebibytes, seconds } = aftermath;
    const rows = [
      ['messages published', whole(published)],
      ['settled, each in one outcome', whole(aftermath.messages)],
      ['understood (applied, repeat, stale)', whole(signals)],
      ['quarantined', `${whole(quarantined)}, for ${aftermath.reasons.length} reasons`],
      ['messages a second, as fast as one client says them', whole(published / seconds)],
      ['memory after each tenth, MiB', residentMebibytes.map(whole).join(' · ')],
      [`growth after the first ${whole(warmUpMessages)}, MiB`, whole(growthOf(aftermath))],
      ['rows in the quarantine in the end', `${whole(aftermath.quarantineRows)} of ${whole(rowsMax)}`],
      [
        'healthy users in the middle of it, whose story was told exactly',
        `${aftermath.healthyTold} of ${aftermath.healthyUsers}`,
      ],
      ['the longest of them waited for their birth, ms', whole(aftermath.healthyMsMax)],
    ];
    // The line above says by which seed it can be run again.
    const report = ['', '| | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
    return { report, harm: harmOf(aftermath) };
  },
};
