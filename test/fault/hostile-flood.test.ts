// A hostile flood, at a size that runs in a minute; `npm run reliability` pours a million.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { harmOf, pourFlood, rowsMax, warmUpMessages } from '../support/hostile-flood.ts';

const messages = 2 * warmUpMessages;

test('I10: of a flood of hostile messages each ends in one outcome, the memory stays flat, and healthy users are heard', async ({
  annotate,
}) => {
  await using database = await createDatabase();
  const aftermath = await pourFlood({ databaseUrl: database.url, messages });
  await annotate(JSON.stringify(aftermath));
  expect(harmOf(aftermath)).toEqual([]);
  // It was a flood, and of many kinds: what no invention reached would have been shown by none.
  expect(aftermath.published).toBeGreaterThan(messages);
  expect(aftermath.signals).toBeGreaterThan(messages / 100);
  expect(aftermath.quarantineRows).toBe(rowsMax);
  expect(aftermath.reasons.length).toBeGreaterThanOrEqual(10);
});
