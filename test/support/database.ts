// A migrated, empty database for one test, cloned from the template in a moment; dropped when disposed of.
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { databaseAt } from './database-url.ts';

export type TestDatabase = { readonly url: string; readonly pool: pg.Pool } & AsyncDisposable;

export async function createDatabase(): Promise<TestDatabase> {
  return create(` TEMPLATE ${inject('databaseTemplate')}`);
}

/** Without a single table: for those who migrate it themselves. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return create('');
}

async function create(template: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await administer(`CREATE DATABASE ${name}${template}`);
  const url = databaseAt(inject('databaseUrl'), name);
  const pool = new pg.Pool({ connectionString: url });
  // Tests cut connections on purpose; an idle one that is cut must not take the test down with it.
  pool.on('error', () => {});
  return {
    url,
    pool,
    async [Symbol.asyncDispose]() {
      if (!pool.ended) await pool.end();
      await administer(`DROP DATABASE ${name} WITH (FORCE)`, name);
    },
  };
}

/** A connection that has been ended a moment ago may still be there; cut by force, it would end in an error that nobody awaits. */
const leaveMsMax = 2_000;

async function administer(statement: string, leaving?: string): Promise<void> {
  const admin = new pg.Client({ connectionString: inject('databaseUrl') });
  await admin.connect();
  try {
    const endMs = performance.now() + leaveMsMax;
    while (leaving !== undefined && performance.now() < endMs) {
      const { rowCount } = await admin.query('select from pg_stat_activity where datname = $1', [leaving]);
      if (rowCount === 0) break;
    }
    await admin.query(statement);
  } finally {
    await admin.end();
  }
}
