import { expect, test } from 'vitest';
import { giveUpEvents, logHorizon, sweepGivenUp } from '../../src/store/retention.ts';
import { appendEvents, openTables } from '../support/endpoints.ts';

test('what is older than the horizon goes a stretch at a time, and the horizon says up to when', async () => {
  await using own = await openTables();
  const beginMs = Date.parse('2026-11-23T08:00:00Z');
  await appendEvents(
    own.pool,
    Array.from({ length: 2_500 }, (_, n) => beginMs + n * 1_000),
  );
  expect(await logHorizon(own.pool)).toBe(null);
  const stretches: number[] = [];
  for (let isMore = true; isMore; ) {
    const given = await giveUpEvents(own.pool, beginMs + 2_200_000);
    const swept = await sweepGivenUp(own.pool);
    stretches.push(swept.events);
    isMore = given.isMore || swept.isMore;
  }
  // The newest before the horizon is kept.
  expect(stretches).toEqual([999, 1_000, 200]);
  expect(await logHorizon(own.pool)).toBe(beginMs + 2_199_000);
  const { rows } = await own.pool.query<{ first: number; count: number }>(
    'select min(position)::int as first, count(*)::int as count from events',
  );
  expect(rows).toEqual([{ first: 2_200, count: 301 }]);
});
