// Question: how fast is a backlog delivered, one event a request and a hundred? The log has the events beforehand; the clock runs from the
// creation of an endpoint that begins at the start of the log to the receiver's answer to the last of them.

import { monotonicMs, shown, spreadOf } from './stats.ts';
import { createEndpoint, type Database, machineLoad, print, removeEndpoint, type Stage } from './webhook-stage.ts';

export type DrainOptions = { readonly rounds: number; readonly events: number };

const batchSizes = [1, 100] as const;
/** What one user's logouts and logins leave, over and over. */
const eventsOfUser = 4;

async function fillLog({ pool }: Database, events: number): Promise<void> {
  await pool.query(
    `insert into events (position, user_id, sequence, type, session_id, epoch, reason, device, at)
     select n, 'user-' || (n - 1) / $2, 1 + (n - 1) % $2,
       (array['session.started', 'user.online', 'session.ended', 'user.offline'])[1 + (n - 1) % $2], 'phone', 1700000000000,
       case when (n - 1) % $2 >= 2 then 'will' end, '{"os":"android","app":"4.2.0"}', now()
     from generate_series(1, $1::int) n`,
    [events, eventsOfUser],
  );
  await pool.query('update log_head set position = $1', [events]);
  await pool.query('vacuum analyze');
}

export async function benchDrain(stage: Stage, { rounds, events }: DrainOptions): Promise<void> {
  await using database = await stage.createDatabase('drain');
  await fillLog(database, events);
  await using willow = await stage.startWillow(database);
  const rates = batchSizes.map((maxBatch) => ({ maxBatch, all: [] as number[] }));
  for (let round = 0; round < rounds; round += 1) {
    for (const { maxBatch, all } of rates) {
      const path = `/drain-${round}-${maxBatch}`;
      const startedAtMs = monotonicMs();
      const endpoint = await createEndpoint(willow, { url: `${stage.receiver.url}${path}`, maxBatch, after: 0 });
      const doneAtMs = await stage.receiver.when(path, events);
      await removeEndpoint(willow, endpoint);
      all.push((events / (doneAtMs - startedAtMs)) * 1_000);
      print(
        `<!-- drain, maxBatch ${maxBatch}, round ${round + 1}: ${all.at(-1)?.toFixed(0)} events/s; ${machineLoad()} -->`,
      );
    }
  }
  await willow.child.end('SIGTERM');
  print(
    `\n| a backlog of ${events.toLocaleString('en')} events, 8 lanes | events/s (min / median / max of ${rounds} rounds) |\n|---|---|`,
  );
  for (const { maxBatch, all } of rates) print(`| maxBatch ${maxBatch} | ${shown(spreadOf(all))} |`);
}
