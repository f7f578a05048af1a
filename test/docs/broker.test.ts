// docs/broker.md and the code agree on why there may be no connection.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/broker.md');

test('every reason why there is no connection is explained with its remedy, and none is made up', () => {
  const [, type = ''] = /export type ConnectProblem =(.*?);/su.exec(read('src/ingest/connect-error.ts')) ?? [];
  const problems = [...type.matchAll(/\| '([a-z-]+)'/gu)].map(([, problem]) => problem);
  expect(problems.length).toBeGreaterThan(5);
  const [, section = ''] = page.split('\n### When there is no connection\n');
  const rows = [...section.matchAll(/^\| `([a-z-]+)` *\| (.+?) *\| (.+?) *\|$/gmu)];
  expect(rows.map(([, problem]) => problem)).toEqual(problems);
  for (const [, problem, happened, remedy] of rows) {
    expect(happened, problem).toMatch(/\w.*\.$/u);
    expect(remedy, problem).toMatch(/\w.*\.$/u);
  }
});
