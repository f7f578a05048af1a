import { expect, test } from 'vitest';
import { openPool } from '../../src/store/database.ts';
import { findDueUsers } from '../../src/store/deadlines.ts';
import { createDatabase } from '../support/database.ts';

type Plan = {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Relation Name'?: string;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly Plan[];
};

type Statement = { readonly text: string; readonly values: unknown[] };

/** How a prepared statement is planned at first, and after it was executed a few times. */
const planModes = ['force_custom_plan', 'force_generic_plan'] as const;

/** The plan of the very statement that looks for due sessions, after it was run. */
async function planOfFindDue(
  url: string,
  mode: (typeof planModes)[number],
  untilMs: number,
): Promise<{ readonly nodes: Plan[]; readonly blocks: number }> {
  const pool = openPool(url, { connectionsMax: 1, statementMsMax: 30_000, onError: () => undefined });
  try {
    const statements: Statement[] = [];
    const query = pool.query.bind(pool) as (statement: Statement) => Promise<unknown>;
    const listening = Object.create(pool) as typeof pool;
    listening.query = ((statement: Statement) => {
      statements.push(statement);
      return query(statement);
    }) as typeof pool.query;
    await findDueUsers(listening, untilMs, 500);
    const [statement] = statements;
    if (statement === undefined) throw new Error('nothing was asked');
    await pool.query(`set plan_cache_mode = ${mode}`);
    await pool.query(`prepare find_due (float8, bigint) as ${statement.text}`);
    const { rows } = await pool.query<{ 'QUERY PLAN': readonly { readonly Plan: Plan }[] }>(
      `explain (analyze, buffers, format json) execute find_due(${statement.values.join(', ')})`,
    );
    const root = rows[0]?.['QUERY PLAN'][0]?.Plan;
    if (root === undefined) throw new Error('there is no plan');
    return { nodes: flatten(root), blocks: root['Shared Hit Blocks'] + root['Shared Read Blocks'] };
  } finally {
    await pool.end();
  }
}

function flatten(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(flatten)];
}

test('a million sessions that are not due cost nothing: the search reads a handful of pages of its own index', async () => {
  await using database = await createDatabase();
  const nowMs = Date.now();
  await database.pool.query(
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, deadline_at)
     select 'user-' || n, 'phone', 'online', 1, now(), now(), to_timestamp($1::float8 / 1000) + n * interval '1 ms'
     from generate_series(1, 1000000) n`,
    [nowMs],
  );
  // Once as it is before statistics are gathered, once after.
  for (const isAnalysed of [false, true]) {
    if (isAnalysed) await database.pool.query('analyze sessions');
    for (const mode of planModes) {
      const none = await planOfFindDue(database.url, mode, nowMs);
      const read = none.nodes.flatMap((node) => node['Index Name'] ?? node['Relation Name'] ?? []);
      expect(read).toEqual(['sessions_due']);
      expect(none.blocks).toBeLessThan(10);
      // A few that are due: their own pages besides, and no more.
      const few = await planOfFindDue(database.url, mode, nowMs + 20);
      expect(few.blocks).toBeLessThan(40);
    }
  }
});
