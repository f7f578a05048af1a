// What the documents point at is there: files, headings, tests.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const isThere = (path: string) => existsSync(new URL(path, root));
const pages = ['README.md', 'SPEC.md', 'SECURITY.md', ...globSync(['docs/**/*.md', 'examples/**/*.md'], { cwd: root })];
const decisions = globSync('docs/adr/*.md', { cwd: root });

/** As a page shows a heading's name in its address. */
function anchorsOf(path: string): string[] {
  const headings = read(path).matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe.each(pages)('%s', (page) => {
  test('says nothing twice: no two headings are the same', () => {
    const anchors = anchorsOf(page);
    expect(anchors.filter((anchor, index) => anchors.indexOf(anchor) < index)).toEqual([]);
  });

  test('links to pages and headings that exist', () => {
    for (const [, link = ''] of read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? page : join(dirname(page), file);
      expect(isThere(target), link).toBe(true);
      if (anchor !== undefined) expect(anchorsOf(target), link).toContain(anchor);
    }
  });

  test('names files that exist', () => {
    const named = read(page).matchAll(/`((?:src|test|prisma)\/[\w./-]+\.\w+)`/g);
    for (const [, path = ''] of named) expect(isThere(path), path).toBe(true);
  });

  test('names scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { readonly scripts: Readonly<Record<string, string>> };
    for (const [, script = ''] of read(page).matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty([script]);
  });
});

test.each(decisions)('%s says why, what, what follows and how it is enforced, on one page', (path) => {
  const sections = [...read(path).matchAll(/^## (.*)$/gm)].map(([, section]) => section);
  expect(sections).toEqual(['Context', 'Decision', 'Consequences', 'How it is enforced']);
  expect(read(path)).toMatch(new RegExp(`^# ${/\d{4}/.exec(path)?.[0]}: `));
  expect(read(path).split(/\s+/).length).toBeLessThan(900);
});

test('decisions are numbered without a gap', () => {
  const numbers = decisions.map((path) => Number(/\d{4}/.exec(path)?.[0])).toSorted((a, b) => a - b);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
});
