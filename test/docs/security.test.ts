// SECURITY.md promises nothing that no test shows: each row of the threat model names what stops whom, and tests that exist.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Citation, missingOf } from './cited-tests.ts';

const page = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8');
const [, section = ''] = page.split('\n## Who tries what\n');
const rows = (/(?:^\|.*\n)+/mu.exec(section)?.[0] ?? '')
  .split('\n')
  .slice(2, -1)
  .map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

function citationsIn(cell: string): Citation[] {
  return [...cell.matchAll(/`(test\/[^`]+)`: "(.+?)"(?=$|<br>)/gu)].map(([, file = '', name = '']) => ({ file, name }));
}

describe('the threat model', () => {
  test('says of everyone what they try, what stops them, and which test shows it', () => {
    expect(rows.length).toBeGreaterThan(10);
    for (const [who, attempt, stopped, shown = '', ...more] of rows) {
      for (const cell of [who, attempt, stopped]) expect(cell).toMatch(/\w/u);
      expect(citationsIn(shown).length, `${who}: ${attempt}`).toBe(shown.split('<br>').length);
      expect(more).toEqual([]);
    }
  });

  test('names tests that exist', () => {
    expect(missingOf(rows.flatMap(([, , , shown = '']) => citationsIn(shown)))).toEqual([]);
  });
});
