// How many rows of tables and entries of indexes a statement has touched, as the server itself tells.

import type pg from 'pg';

type Plan = {
  readonly 'Node Type': string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly Plan[];
};

export async function rowsRead(
  pool: pg.Pool | pg.PoolClient,
  text: string,
  values: readonly unknown[],
): Promise<number> {
  const { rows } = await pool.query<{ 'QUERY PLAN': readonly { Plan: Plan }[] }>(
    `explain (analyze, timing off, format json) ${text}`,
    [...values],
  );
  return ofPlan(rows[0]?.['QUERY PLAN'][0]?.Plan);
}

function ofPlan(plan: Plan | undefined): number {
  if (plan === undefined) throw new Error('there is no plan');
  const isScan = /Index (?:Only )?Scan$|^Seq Scan$/u.test(plan['Node Type']);
  const own = isScan ? (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops'] : 0;
  return own + (plan.Plans ?? []).reduce((sum, below) => sum + ofPlan(below), 0);
}

/** What is asked through the pool meanwhile. */
export function overhear(pool: pg.Pool): {
  readonly pool: pg.Pool;
  readonly asked: { text: string; values: unknown[] }[];
} {
  const asked: { text: string; values: unknown[] }[] = [];
  const listening = Object.create(pool) as pg.Pool;
  const query = pool.query.bind(pool) as (statement: unknown) => Promise<unknown>;
  listening.query = ((statement: { text: string; values: unknown[] }) => {
    asked.push(statement);
    return query(statement);
  }) as typeof pool.query;
  return { pool: listening, asked };
}
