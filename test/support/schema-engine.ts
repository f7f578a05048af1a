// Prisma's own schema engine, as WebAssembly (its usual form is a binary that has to be downloaded). It is asked what
// separates the migrations from the schema, and what `prisma migrate status` and `deploy` would make of a database.
import { PrismaPg } from '@prisma/adapter-pg';
import {
  bindMigrationAwareSqlAdapterFactory,
  ColumnTypeEnum,
  type SqlDriverAdapter,
  type SqlQuery,
} from '@prisma/driver-adapter-utils';
import { type DiagnoseMigrationHistoryOutput, type MigrationList, SchemaEngine } from '@prisma/schema-engine-wasm';
import pg from 'pg';
import type { Migration } from '../../src/store/migrate.ts';

const filters = { externalTables: [], externalEnums: [] };

/** The SQL that leads from the migrations to the schema, or nothing if they agree. The database must be empty, and is used up. */
export async function diff(url: string, migrations: readonly Migration[], schema: string): Promise<string | undefined> {
  return withEngine(url, async (engine) => {
    const answer = await engine.diff({
      from: { tag: 'migrations', ...listOf(migrations) },
      to: { tag: 'schemaDatamodel', files: [{ path: 'schema.prisma', content: schema }] },
      script: true,
      exitCode: true,
      filters,
    });
    // 2: there is a difference. (The text of none is a comment that says so.)
    return answer.exitCode === 2 ? (answer.stdout ?? undefined) : undefined;
  });
}

/** What `prisma migrate status` finds. */
export async function diagnose(url: string, migrations: readonly Migration[]): Promise<DiagnoseMigrationHistoryOutput> {
  return withEngine(url, (engine) =>
    engine.diagnoseMigrationHistory({ migrationsList: listOf(migrations), optInToShadowDatabase: false, filters }),
  );
}

/** What `prisma migrate deploy` does: the names of the migrations that it applied. */
export async function deploy(url: string, migrations: readonly Migration[]): Promise<readonly string[]> {
  return withEngine(url, async (engine) => {
    const { appliedMigrationNames } = await engine.applyMigrations({ migrationsList: listOf(migrations), filters });
    return appliedMigrationNames;
  });
}

function listOf(migrations: readonly Migration[]): MigrationList {
  return {
    baseDir: 'prisma/migrations',
    lockfile: { path: 'migration_lock.toml', content: 'provider = "postgresql"' },
    shadowDbInitScript: '',
    migrationDirectories: migrations.map(({ name, sql }) => ({
      path: name,
      migrationFile: { path: 'migration.sql', content: { tag: 'ok', value: sql } },
    })),
  };
}

async function withEngine<T>(url: string, work: (engine: SchemaEngine) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: url });
  const adapter = await adapterOf(pool);
  const connect = () => Promise.resolve(adapter);
  const factory = {
    provider: 'postgres',
    adapterName: '@prisma/adapter-pg',
    connect,
    connectToShadowDb: connect,
  } as const;
  try {
    const engine = await SchemaEngine.new(
      { datamodels: [['schema.prisma', 'datasource db {\n  provider = "postgresql"\n}']] },
      () => {},
      bindMigrationAwareSqlAdapterFactory(factory),
    );
    return await work(engine).finally(() => engine.free());
  } finally {
    await pool.end();
  }
}

type Rows = { readonly fields?: { dataTypeID: number }[]; readonly rows: readonly unknown[] };

/**
 * Prisma's adapter, with what it lacks for this engine: it does not know the type "char" of the system's catalogs, and
 * it cuts a script at every semicolon, those inside function bodies too.
 */
async function adapterOf(pool: pg.Pool): Promise<SqlDriverAdapter> {
  const adapter: SqlDriverAdapter = await new PrismaPg(pool).connect();
  const charColumns = new WeakMap<readonly unknown[], readonly number[]>();
  const { builtins } = pg.types;
  const query = pool.query.bind(pool) as (...asked: unknown[]) => Promise<Rows>;
  pool.query = (async (...asked: unknown[]) => {
    const answer = await query(...asked);
    const fields = answer.fields ?? [];
    charColumns.set(
      answer.rows,
      fields.flatMap((field, index) => (field.dataTypeID === builtins.CHAR ? [index] : [])),
    );
    for (const field of fields) if (field.dataTypeID === builtins.CHAR) field.dataTypeID = builtins.TEXT;
    return answer;
  }) as typeof pool.query;
  const queryRaw = adapter.queryRaw.bind(adapter);
  adapter.queryRaw = async (asked: SqlQuery) => {
    const answer = await queryRaw(asked);
    for (const index of charColumns.get(answer.rows) ?? []) answer.columnTypes[index] = ColumnTypeEnum.Character;
    return answer;
  };
  adapter.executeScript = async (script: string) => {
    await query(script);
  };
  return adapter;
}
