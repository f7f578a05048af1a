// `npm run db:diff` prints the SQL of the next migration: what leads from prisma/migrations to prisma/schema.prisma.
// It goes into prisma/migrations/<UTC time as YYYYMMDDhhmmss>_<name>/migration.sql, with whatever Prisma cannot say added by hand.
import { readFile } from 'node:fs/promises';
import { loadMigrations } from '../../src/store/migrate.ts';
import { startPostgres } from './postgres.ts';
import { diff } from './schema-engine.ts';

const prisma = new URL('../../prisma/', import.meta.url);
await using server = await startPostgres();
const sql = await diff(
  server.url,
  await loadMigrations(new URL('migrations/', prisma)),
  await readFile(new URL('schema.prisma', prisma), 'utf8'),
);
process.stdout.write(sql ?? '-- The migrations and the schema agree.\n');
