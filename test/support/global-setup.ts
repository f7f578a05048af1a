// Before the tests of a project: one PostgreSQL, with one migrated database in it that the tests clone.
// Every project that asks for it gets a server of its own, so that none depends on another's order.
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { databaseAt } from './database-url.ts';
import { startPostgres } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The server's own database, for CREATE DATABASE and the like. */
    databaseUrl: string;
    /** The name of a database with every migration applied and nothing in it. */
    databaseTemplate: string;
  }
}

const template = 'willow_template';

export async function setup(project: TestProject): Promise<() => PromiseLike<void>> {
  const server = await startPostgres();
  try {
    await createTemplate(server.url);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  project.provide('databaseUrl', server.url);
  project.provide('databaseTemplate', template);
  return () => server[Symbol.asyncDispose]();
}

async function createTemplate(adminUrl: string): Promise<void> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    await admin.query(`CREATE DATABASE ${template}`);
    const pool = new pg.Pool({ connectionString: databaseAt(adminUrl, template), max: 1 });
    try {
      await migrate(pool, await loadMigrations(new URL('../../prisma/migrations/', import.meta.url)));
    } finally {
      await pool.end();
    }
    // A template somebody is connected to cannot be cloned.
    await admin.query(`ALTER DATABASE ${template} ALLOW_CONNECTIONS false`);
  } finally {
    await admin.end();
  }
}
