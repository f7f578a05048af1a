// docs/metrics.md and the code agree: every metric, its type and its labels.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { everyMetric } from '../support/every-metric.ts';

const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');

/** The rows of all tables whose first cell is the name of a metric: name, type, labels. */
function documented(): readonly string[] {
  return [...page.matchAll(/^\| `([a-z0-9_]+)`\s*\|([^|]*)\|([^|]*)\|/gm)].map(([, name, type = '', labels = '']) =>
    [name, type.trim(), labels.replaceAll('`', '').trim()].join(' | '),
  );
}

test('every metric is listed once, with its type and its labels, and none is made up', async () => {
  const served = (await everyMetric()).map(({ name, type, labels }) => [name, type, labels.join(', ')].join(' | '));
  expect(documented().toSorted()).toEqual(served.toSorted());
});
