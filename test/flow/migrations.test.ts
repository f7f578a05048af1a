import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { loadMigrations } from '../../src/store/migrate.ts';
import { createEmptyDatabase } from '../support/database.ts';
import { diff } from '../support/schema-engine.ts';

const prisma = new URL('../../prisma/', import.meta.url);
const migrations = await loadMigrations(new URL('migrations/', prisma));
const schema = await readFile(new URL('schema.prisma', prisma), 'utf8');

async function difference(otherSchema: string): Promise<string | undefined> {
  await using database = await createEmptyDatabase();
  return await diff(database.url, migrations, otherSchema);
}

/** The schema with one thing changed, which has to be there. */
function changed(from: string, to: string): string {
  expect(schema).toContain(from);
  return schema.replace(from, to);
}

test('the migrations lead to the schema that the client is generated from', async () => {
  expect(await difference(schema)).toBeUndefined();
});

test.each([
  ['a column', 'kicked       Boolean', 'extra Int\n  kicked       Boolean', 'ADD COLUMN     "extra" INTEGER NOT NULL'],
  ['a nullable column', 'reason         String?', 'reason         String', '"reason" SET NOT NULL'],
  ['a default', '@default(false)', '@default(true)', '"kicked" SET DEFAULT true'],
  ['a predicate of an index', 'raw("ended_at IS NULL")', 'raw("ended_at IS NOT NULL")', 'INDEX "sessions_live"'],
  ['an index', '@@unique([userId, sequence])', '', 'DROP INDEX "events_user_id_sequence_key"'],
])('a schema that differs in %s is noticed', async (_what, from, to, sql) => {
  expect(await difference(changed(from, to))).toContain(sql);
});
