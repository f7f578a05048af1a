// Question: does a logout write more when more endpoints listen? Rows are those that PostgreSQL counts itself, read when Willow has stopped
// and all its connections have told theirs.

import { createEndpoint, type Database, login, print, publishWills, type Stage } from './webhook-stage.ts';

/** What is written by the readers of the log, as they read. */
const readersTables = ['lanes', 'attempts', 'endpoints', 'parked', 'workers'];
/** Written once for each batch, however many logouts are in it; `links` by the clock as well. */
const batchTables = ['log_head', 'links'];
const endpointCounts = [0, 1, 50] as const;

type Rows = ReadonlyMap<string, number>;

async function rowsWritten({ pool }: Database): Promise<Rows> {
  const { rows } = await pool.query<{ name: string; written: string }>(
    'select relname as name, n_tup_ins + n_tup_upd + n_tup_del as written from pg_stat_user_tables order by relname',
  );
  return new Map(rows.map(({ name, written }) => [name, Number(written)]));
}

async function writesWith(stage: Stage, endpoints: number, logouts: number): Promise<Rows> {
  await using database = await stage.createDatabase(`writes_${endpoints}`);
  const users = Array.from({ length: logouts }, (_, n) => `user-${n}`);
  const path = `/writes-${endpoints}/`;
  {
    await using first = await stage.startWillow(database);
    await login(stage, database, { users, epoch: 1 });
    for (let n = 0; n < endpoints; n += 1)
      await createEndpoint(first, { url: `${stage.receiver.url}${path}${n}`, events: ['user.offline'] });
    await first.child.end('SIGTERM');
  }
  const before = await rowsWritten(database);
  {
    await using willow = await stage.startWillow(database);
    await publishWills(stage, { users, epoch: 1, perSecond: 100 });
    await willow.presenceWhen(users.at(-1) ?? '', ({ status }) => status === 'offline');
    if (endpoints > 0) await stage.receiver.when(path, endpoints * logouts);
    await willow.child.end('SIGTERM');
  }
  const after = await rowsWritten(database);
  return new Map([...after].map(([name, written]) => [name, written - (before.get(name) ?? 0)]));
}

function kindOf(table: string): string {
  if (readersTables.includes(table)) return 'its readers';
  return batchTables.includes(table) ? 'its batch' : 'the logout';
}

export async function benchWrites(stage: Stage, logouts: number): Promise<void> {
  const all: Rows[] = [];
  for (const endpoints of endpointCounts) all.push(await writesWith(stage, endpoints, logouts));
  const names = [...new Set(all.flatMap((rows) => [...rows.keys()]))];
  const lines = names
    .filter((name) => all.some((rows) => (rows.get(name) ?? 0) > 0))
    .map((name) => ({ name, kind: kindOf(name), each: all.map((rows) => (rows.get(name) ?? 0) / logouts) }))
    .toSorted((a, b) => b.kind.localeCompare(a.kind));
  print(
    `\n| rows written for a logout, of ${logouts} | by | ${endpointCounts.map((n) => `${n} endpoints`).join(' | ')} |`,
  );
  print(`|---|---${'|---'.repeat(endpointCounts.length)}|`);
  for (const { name, kind, each } of lines)
    print(`| ${name} | ${kind} | ${each.map((rows) => rows.toFixed(2)).join(' | ')} |`);
}
