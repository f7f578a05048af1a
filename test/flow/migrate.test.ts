import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { expect, test, vi } from 'vitest';
import { StartError } from '../../src/runtime/start-error.ts';
import { loadMigrations, type Migration, migrate } from '../../src/store/migrate.ts';
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts';
import { deploy, diagnose } from '../support/schema-engine.ts';

const first: Migration = { name: '20260101000000_first', sql: 'CREATE TABLE fruit (name TEXT PRIMARY KEY);\n' };
const second: Migration = {
  name: '20260102000000_second',
  // Not idempotent: applied twice, it would fail or leave two pears.
  sql: `ALTER TABLE fruit ADD COLUMN colour TEXT;\nINSERT INTO fruit VALUES ('pear', 'green');\n`,
};
const both = [first, second];
const names = both.map(({ name }) => name);
const lockKey = 72_707_369;

async function fruit(database: TestDatabase): Promise<unknown[]> {
  return (await database.pool.query<pg.QueryResultRow>('SELECT * FROM fruit')).rows;
}

async function columnsOf(database: TestDatabase): Promise<unknown[]> {
  const columns = await database.pool.query<pg.QueryResultRow>(
    `SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) AS default, indisprimary
       FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
       LEFT JOIN pg_index ON indrelid = attrelid AND attnum = ANY (indkey)
      WHERE attrelid = '_prisma_migrations'::regclass AND attnum > 0 ORDER BY attnum`,
  );
  return columns.rows;
}

type Row = { id: string; started_at: Date; finished_at: Date };

async function rowsOf(database: TestDatabase): Promise<Row[]> {
  return (await database.pool.query<Row>('SELECT * FROM _prisma_migrations ORDER BY started_at')).rows;
}

function poolOf(config: pg.PoolConfig): pg.Pool & AsyncDisposable {
  const pool = new pg.Pool(config);
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.end() });
}

async function connect(database: TestDatabase): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

/** The server processes that wait for an advisory lock in this database, once there are as many as expected. */
async function waitingForLock(database: TestDatabase, count: number): Promise<number[]> {
  const waiting = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
  return vi.waitFor(
    async () => {
      const { rows } = await database.pool.query<{ pid: number }>(waiting);
      expect(rows).toHaveLength(count);
      return rows.map(({ pid }) => pid);
    },
    { timeout: 30_000 },
  );
}

test('an empty database gets every migration, in order, and a second start does nothing', async () => {
  await using database = await createEmptyDatabase();
  expect(await migrate(database.pool, both)).toEqual({ applied: names, unknown: [] });
  expect(await fruit(database)).toEqual([{ name: 'pear', colour: 'green' }]);
  expect(await migrate(database.pool, both)).toEqual({ applied: [], unknown: [] });
  expect(await fruit(database)).toHaveLength(1);
});

test('a later version applies what is new only', async () => {
  await using database = await createEmptyDatabase();
  await migrate(database.pool, [first]);
  expect(await migrate(database.pool, both)).toEqual({ applied: [second.name], unknown: [] });
});

test('of several processes that start at once one applies a migration, whatever isolation the database defaults to', async () => {
  await using database = await createEmptyDatabase();
  const options = '-c default_transaction_isolation=serializable -c default_transaction_read_only=on';
  await using blocker = await connect(database);
  await blocker.query('SELECT pg_advisory_lock($1)', [lockKey]);
  const starts = Array.from({ length: 4 }, async () => {
    await using pool = poolOf({ connectionString: database.url, options, max: 1 });
    return await migrate(pool, both);
  });
  await waitingForLock(database, starts.length);
  await blocker.query('SELECT pg_advisory_unlock($1)', [lockKey]);
  const applied = (await Promise.all(starts)).flatMap((migrated) => migrated.applied);
  expect(applied.sort()).toEqual(names);
  expect(await rowsOf(database)).toHaveLength(2);
  expect(await fruit(database)).toHaveLength(1);
});

test('a process that holds the lock for ever is named as the reason, after a bounded wait', async () => {
  await using database = await createEmptyDatabase();
  await using blocker = await connect(database);
  await blocker.query('SELECT pg_advisory_lock($1)', [lockKey]);
  const start = migrate(database.pool, both, 100);
  await expect(start).rejects.toThrow(StartError);
  await expect(start).rejects.toThrow('Another process has held the migration lock of this database for 0.1 s.');
});

test('a migration may take longer than the pool allows its everyday queries', async () => {
  await using database = await createEmptyDatabase();
  const timeouts = { statement_timeout: 200, query_timeout: 400, lock_timeout: 200 };
  await using pool = poolOf({ connectionString: database.url, max: 1, ...timeouts });
  const slow: Migration = { name: '20260103000000_slow', sql: 'SELECT pg_sleep(0.6);' };
  await expect(pool.query(slow.sql), 'the limits are real').rejects.toThrow(/timeout/);
  expect(await migrate(pool, [slow])).toEqual({ applied: [slow.name], unknown: [] });
});

test('an applied migration whose file was edited ends the start', async () => {
  await using database = await createEmptyDatabase();
  await migrate(database.pool, both);
  const edited = [{ name: first.name, sql: `${first.sql}-- better\n` }, second];
  const start = migrate(database.pool, edited);
  await expect(start).rejects.toThrow(StartError);
  await expect(start).rejects.toThrow(
    'The migration 20260101000000_first is not the one that was applied to this database: its file has been edited since.',
  );
  expect((await diagnose(database.url, edited)).editedMigrationNames).toEqual([first.name]);
});

test('a checkout with other line ends is not an edited migration', async () => {
  await using database = await createEmptyDatabase();
  await migrate(database.pool, both);
  const windows = both.map(({ name, sql }) => ({ name, sql: sql.replaceAll('\n', '\r\n') }));
  expect(await migrate(database.pool, windows)).toEqual({ applied: [], unknown: [] });
  expect((await diagnose(database.url, windows)).editedMigrationNames, 'Prisma agrees').toEqual([]);
});

test('a migration that fails leaves nothing behind, and says where it failed', async () => {
  await using database = await createEmptyDatabase();
  const third: Migration = {
    name: '20260103000000_third',
    sql: `DROP TABLE fruit;\n\nCREATE INDEX ON vegetables (name);\n`,
  };
  const start = migrate(database.pool, [...both, third]);
  await expect(start).rejects.toThrow(StartError);
  await expect(start).rejects.toThrow(
    'The migration 20260103000000_third failed and left nothing behind: relation "vegetables" does not exist.',
  );
  expect(await fruit(database)).toEqual([{ name: 'pear', colour: 'green' }]);
  expect(await rowsOf(database), 'the ones before it stay').toHaveLength(2);
  const mended = { ...third, sql: 'DROP TABLE fruit;' };
  expect((await migrate(database.pool, [...both, mended])).applied, 'and it may be mended').toEqual([third.name]);
});

test('a migration with a mistake in its grammar says in which line', async () => {
  await using database = await createEmptyDatabase();
  const start = migrate(database.pool, [{ name: '20260101000000_typo', sql: 'SELECT 1;\n\nCREATE TABEL fruit ();\n' }]);
  await expect(start).rejects.toThrow('failed in line 3 and left nothing behind: syntax error at or near "TABEL".');
});

test('a database that does not grant the right to migrate it is named as the reason', async () => {
  await using database = await createEmptyDatabase();
  // A role of PostgreSQL's own, which may create nothing.
  await using pool = poolOf({ connectionString: database.url, options: '-c role=pg_monitor', max: 1 });
  const start = migrate(pool, both);
  await expect(start).rejects.toThrow(StartError);
  await expect(start).rejects.toThrow('The database cannot be migrated: permission denied for schema public.');
});

test('a connection cut in the middle of a migration leaves nothing behind, and the next start applies it', async () => {
  await using database = await createEmptyDatabase();
  await using blocker = await connect(database);
  await blocker.query('SELECT pg_advisory_lock(1)');
  const stuck: Migration = { name: '20260101000000_stuck', sql: `${first.sql}SELECT pg_advisory_xact_lock(1);` };
  const socket = new Socket();
  await using pool = poolOf({ connectionString: database.url, max: 1, stream: () => socket });
  const start = migrate(pool, [stuck]);
  start.catch(() => {});
  await waitingForLock(database, 1);
  socket.destroy();
  await expect(start).rejects.toThrow('Connection terminated unexpectedly');
  await blocker.query('SELECT pg_advisory_unlock(1)');
  expect(await migrate(database.pool, [stuck])).toEqual({ applied: [stuck.name], unknown: [] });
});

test('a migration begun and never finished ends the start, until somebody says what became of it', async () => {
  await using database = await createEmptyDatabase();
  await migrate(database.pool, [first]);
  await database.pool.query(
    `INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES (gen_random_uuid(), 'x', $1)`,
    [second.name],
  );
  const start = migrate(database.pool, both);
  await expect(start).rejects.toThrow(StartError);
  await expect(start).rejects.toThrow(
    'The migration 20260102000000_second was begun on this database and never finished',
  );
  await database.pool.query('UPDATE _prisma_migrations SET rolled_back_at = now() WHERE finished_at IS NULL');
  expect((await migrate(database.pool, both)).applied).toEqual([second.name]);
});

test('an older version starts beside a newer one, and says which migrations it does not know', async () => {
  await using database = await createEmptyDatabase();
  await migrate(database.pool, both);
  expect(await migrate(database.pool, [first])).toEqual({ applied: [], unknown: [second.name] });
});

test('the books are those that Prisma keeps: same table, same rows', async () => {
  await using ours = await createEmptyDatabase();
  await using prismas = await createEmptyDatabase();
  await migrate(ours.pool, both);
  expect(await deploy(prismas.url, both)).toEqual(names);
  expect(await columnsOf(ours)).toEqual(await columnsOf(prismas));
  const written = 'SELECT checksum, migration_name, logs, rolled_back_at, applied_steps_count FROM _prisma_migrations';
  const ofOurs = await ours.pool.query(`${written} ORDER BY started_at`);
  const ofPrisma = await prismas.pool.query(`${written} ORDER BY started_at`);
  expect(ofOurs.rows).toEqual(ofPrisma.rows);
  for (const row of await rowsOf(ours)) {
    expect(row.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(row.finished_at.getTime()).toBeGreaterThanOrEqual(row.started_at.getTime());
  }
});

test('Prisma finds nothing to do, and nothing wrong, where Willow has migrated, and the other way round', async () => {
  await using database = await createEmptyDatabase();
  await migrate(database.pool, [first]);
  expect(await diagnose(database.url, [first])).toMatchObject({
    editedMigrationNames: [],
    failedMigrationNames: [],
    hasMigrationsTable: true,
    history: null,
  });
  expect(await deploy(database.url, both)).toEqual([second.name]);
  expect(await migrate(database.pool, both)).toEqual({ applied: [], unknown: [] });
});

test('migrations are read in the order of their stamps, and a missing one ends the start', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'willow-migrations-'));
  const url = pathToFileURL(directory);
  try {
    await expect(loadMigrations(url)).rejects.toThrow(`There are no migrations in ${directory}.`);
    for (const { name, sql } of both.toReversed()) {
      await mkdir(join(directory, name));
      await writeFile(join(directory, name, 'migration.sql'), sql);
    }
    await writeFile(join(directory, 'migration_lock.toml'), '');
    expect(await loadMigrations(url)).toEqual(both);
    await rm(join(directory, first.name, 'migration.sql'));
    await expect(loadMigrations(url)).rejects.toThrow(`The migration ${first.name} cannot be read`);
  } finally {
    await rm(directory, { recursive: true });
  }
  await expect(loadMigrations(url)).rejects.toThrow(StartError);
});
