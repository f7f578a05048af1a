import { expect, test } from 'vitest';
import { readDeployment } from '../../src/store/deployment.ts';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { createEmptyDatabase } from '../support/database.ts';

const migrations = await loadMigrations(new URL('../../prisma/migrations/', import.meta.url));

test('each database has a name of its own, and keeps it', async () => {
  await using one = await createEmptyDatabase();
  await using other = await createEmptyDatabase();
  for (const { pool } of [one, other]) await migrate(pool, migrations);
  const name = await readDeployment(one.pool);
  expect(name).toMatch(/^[0-9a-f-]{36}$/u);
  expect(await readDeployment(other.pool)).not.toBe(name);
  await migrate(one.pool, migrations);
  expect(await readDeployment(one.pool)).toBe(name);
});
