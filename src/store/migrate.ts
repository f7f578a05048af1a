// Brings the database to the schema of this version when the process starts: each committed migration once, whole or not
// at all, whoever else starts at the same moment. It keeps the books that Prisma keeps (the table _prisma_migrations, the
// checksums, the lock), so `prisma migrate deploy` and `status` agree with it. It never edits or reverts what was applied.
// What the server refuses is a StartError; an outage is passed on as it is.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { StartError } from '../runtime/start-error.ts';

export type Migration = { readonly name: string; readonly sql: string };

type Migrated = {
  readonly applied: readonly string[];
  /** Migrations in the database that this version does not carry: a newer version has been here. */
  readonly unknown: readonly string[];
};

// A migration may rewrite a large table.
const migrationMaxMs = 600_000;
// Below the limit of the migration itself, which would hide the reason.
const lockWaitMaxMs = 300_000;
// While a migration waits for a table, every query behind it waits too: rather give up, and be started again.
const tableLockWaitMs = 30_000;
// The key that Prisma's own engine locks: the two never migrate at once.
const lockKey = 72_707_369;
// What the server needs to say that it gave up, before the driver does.
const answerMs = 5_000;
const lockNotAvailable = '55P03';

const historyTable = `
CREATE TABLE _prisma_migrations (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
)`;

export async function migrate(
  pool: pg.Pool,
  migrations: readonly Migration[],
  lockWaitMs: number = lockWaitMaxMs,
): Promise<Migrated> {
  const applied: string[] = [];
  for (;;) {
    const { next, unknown } = await inTransaction(pool, async (client) => {
      await lock(client, lockWaitMs);
      return applyNext(client, migrations);
    }).catch((cause: unknown) => {
      throw isRefusal(cause) ? new StartError(`The database cannot be migrated: ${cause.message}.`, { cause }) : cause;
    });
    if (next === undefined) return { applied, unknown };
    applied.push(next);
  }
}

/** Reads `<stamp>_<name>/migration.sql` below a directory, in the order of their stamps. */
export async function loadMigrations(directory: URL): Promise<readonly Migration[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause: unknown) => {
    throw new StartError(`The directory of the migrations cannot be read: ${fileURLToPath(directory)}.`, { cause });
  });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  if (names.length === 0) throw new StartError(`There are no migrations in ${fileURLToPath(directory)}.`);
  return Promise.all(names.sort().map(async (name) => ({ name, sql: await readSql(directory, name) })));
}

async function readSql(directory: URL, name: string): Promise<string> {
  const file = fileURLToPath(new URL(`${name}/migration.sql`, `${directory.href.replace(/\/$/, '')}/`));
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new StartError(`The migration ${name} cannot be read: ${file}.`, { cause });
  });
}

async function inTransaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  // A connection that breaks says so twice: to the query that is running, which throws below, and as this event.
  const heardBelow = () => {};
  client.on('error', heardBelow);
  try {
    // The snapshot of any stricter level is taken before the wait for the lock: it would miss what the others applied.
    await ask(client, 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE');
    const result = await work(client);
    await ask(client, 'COMMIT');
    return result;
  } finally {
    client.off('error', heardBelow);
    // Closed, not returned: the server rolls back what is left, and what a migration set for its session ends with it.
    client.release(true);
  }
}

/** Held until the transaction ends, so that a pooler between here and the server cannot keep it. */
async function lock(client: pg.PoolClient, lockWaitMs: number): Promise<void> {
  // From pg_settings, because older servers do not know all of them.
  await ask(
    client,
    `SELECT set_config(name, $1, true) FROM pg_settings
      WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')`,
    [String(migrationMaxMs)],
  );
  await ask(client, `SELECT set_config('lock_timeout', $1, true)`, [String(lockWaitMs)]);
  await ask(client, 'SELECT pg_advisory_xact_lock($1)', [lockKey]).catch((cause: unknown) => {
    if (!isRefusal(cause) || cause.code !== lockNotAvailable) throw cause;
    const waited = `${lockWaitMs / 1000} s`;
    throw new StartError(`Another process has held the migration lock of this database for ${waited}.`, { cause });
  });
  await ask(client, `SELECT set_config('lock_timeout', $1, true)`, [String(tableLockWaitMs)]);
}

type History = readonly { readonly name: string; readonly checksum: string; readonly isFinished: boolean }[];

async function applyNext(client: pg.PoolClient, migrations: readonly Migration[]) {
  const history = await readHistory(client);
  refuseUnfinished(history ?? []);
  refuseEdited(history ?? [], migrations);
  const appliedNames = new Set(history?.map(({ name }) => name));
  const next = migrations.find(({ name }) => !appliedNames.has(name));
  if (next !== undefined) {
    if (history === undefined) await ask(client, historyTable);
    await apply(client, next);
  }
  const knownNames = new Set(migrations.map(({ name }) => name));
  return { next: next?.name, unknown: [...appliedNames].filter((name) => !knownNames.has(name)) };
}

async function readHistory(client: pg.PoolClient): Promise<History | undefined> {
  const table = await ask<{ exists: boolean }>(
    client,
    `SELECT to_regclass('_prisma_migrations') IS NOT NULL AS exists`,
  );
  if (table.rows[0]?.exists !== true) return undefined;
  const history = await ask<History[number]>(
    client,
    `SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS "isFinished"
       FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY started_at`,
  );
  return history.rows;
}

function refuseUnfinished(history: History): void {
  const unfinished = history.find(({ isFinished }) => !isFinished);
  if (unfinished === undefined) return;
  throw new StartError(
    `The migration ${unfinished.name} was begun on this database and never finished. ` +
      `Finish its changes and set finished_at in _prisma_migrations, or undo them and set rolled_back_at ` +
      `("prisma migrate resolve" sets either).`,
  );
}

function refuseEdited(history: History, migrations: readonly Migration[]): void {
  const checksumByName = new Map(history.map(({ name, checksum }) => [name, checksum]));
  const edited = migrations.find(({ name, sql }) => {
    const checksum = checksumByName.get(name);
    return checksum !== undefined && !checksumsOf(sql).includes(checksum);
  });
  if (edited === undefined) return;
  throw new StartError(
    `The migration ${edited.name} is not the one that was applied to this database: its file has been edited since. ` +
      `Start the version that it was applied by, or one that leaves it as it was.`,
  );
}

async function apply(client: pg.PoolClient, { name, sql }: Migration): Promise<void> {
  const begun = await ask<{ id: string }>(
    client,
    `INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at)
     VALUES (gen_random_uuid(), $1, $2, clock_timestamp()) RETURNING id`,
    [checksumsOf(sql)[0], name],
  );
  await ask(client, sql).catch((cause: unknown) => {
    if (!isRefusal(cause)) throw cause;
    const line = cause.position === undefined ? '' : ` in line ${lineAt(sql, Number(cause.position))}`;
    throw new StartError(`The migration ${name} failed${line} and left nothing behind: ${cause.message}.`, { cause });
  });
  await ask(
    client,
    'UPDATE _prisma_migrations SET finished_at = clock_timestamp(), applied_steps_count = 1 WHERE id = $1',
    [begun.rows[0]?.id],
  );
}

/** Not an outage (SQLSTATE 08 connection, 53 resources, 57P shutting down or starting), which passes. */
function isRefusal(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && !/^(08|53|57P)/.test(error.code ?? '');
}

function lineAt(sql: string, position: number): number {
  return sql.slice(0, position - 1).split('\n').length;
}

/** Of the file as it is, then as a checkout on another system would write its line ends. */
function checksumsOf(sql: string): readonly [string, ...string[]] {
  const unix = sql.replaceAll('\r\n', '\n');
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
  return [sha256(sql), sha256(unix), sha256(unix.replaceAll('\n', '\r\n'))];
}

/** A query as long as a migration may take, whatever the pool allows its everyday queries. */
async function ask<Row extends pg.QueryResultRow>(client: pg.PoolClient, text: string, values?: readonly unknown[]) {
  const query = { text, ...(values && { values: [...values] }), query_timeout: migrationMaxMs + answerMs };
  return client.query<Row>(query);
}
