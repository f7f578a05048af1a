// What is kept of the attempts of an endpoint: the newest of those that were delivered, and the newest of the others.

import type pg from 'pg';
import { expect, test } from 'vitest';
import { listAttempts } from '../../src/store/attempts.ts';
import { attemptsTrimRowsMax, trimAttempts } from '../../src/store/parked.ts';
import { make, openTables } from '../support/endpoints.ts';

const keptMax = 1_000;

/** So many attempts, behind those that are there. */
async function attempt(pool: pg.Pool, endpointId: string, outcome: string, count: number): Promise<void> {
  await pool.query(
    `insert into attempts (endpoint_id, webhook_id, count, at, duration_ms, outcome)
     select $1, $2 || '-' || n, 1, now(), 5, $2 from generate_series(1, $3::int) n`,
    [endpointId, outcome, count],
  );
}

async function kept(pool: pg.Pool, endpointId: string, outcome: string | null): Promise<readonly string[]> {
  const rows = await listAttempts(pool, endpointId, outcome, { limit: 100_000, before: null });
  return (rows ?? []).map(({ webhookId }) => webhookId);
}

test('successes do not push failures out: the newest of each are kept, and the others go in batches', async () => {
  await using tables = await openTables();
  const { pool } = tables;
  const { id } = (await make(pool)).endpoint;
  const { id: quiet } = (await make(pool)).endpoint;
  await attempt(pool, id, 'failed', 1_200);
  await attempt(pool, id, 'refused', 2);
  await attempt(pool, id, 'gone', 1);
  await attempt(pool, id, 'delivered', keptMax + 2 * attemptsTrimRowsMax);
  await attempt(pool, quiet, 'delivered', keptMax);
  await attempt(pool, quiet, 'failed', keptMax);
  const trimmed: number[] = [];
  do trimmed.push(await trimAttempts(pool, [id, quiet], keptMax));
  while (trimmed.at(-1) !== 0);
  expect(trimmed).toEqual([attemptsTrimRowsMax, attemptsTrimRowsMax, 203, 0]);

  const newest = (outcome: string, from: number, count: number) =>
    Array.from({ length: count }, (_, n) => `${outcome}-${from - n}`);
  expect(await kept(pool, id, 'delivered')).toEqual(newest('delivered', keptMax + 2 * attemptsTrimRowsMax, keptMax));
  expect(await kept(pool, id, 'failed')).toEqual(newest('failed', 1_200, keptMax - 3));
  expect(await kept(pool, id, 'refused')).toEqual(['refused-2', 'refused-1']);
  expect(await kept(pool, id, 'gone')).toEqual(['gone-1']);
  expect(await kept(pool, id, null)).toHaveLength(2 * keptMax);
  expect(await kept(pool, quiet, null)).toHaveLength(2 * keptMax);
  expect(await listAttempts(pool, 'whe_nobody', 'failed', { limit: 1, before: null })).toBeNull();
});
