// SPEC.md and the tests hold each other: every invariant names tests that exist, every invariant that code or a test cites is in SPEC.md,
// and the transition table printed there is the one that the tests run.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Cell, type Comparison, transitions } from '../support/transition-table.ts';
import { type Citation, missingOf } from './cited-tests.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const spec = read('SPEC.md');
const invariants = Array.from({ length: 11 }, (_, index) => `I${index + 1}`);

/** The text of an invariant, from its heading to the next one. */
function sectionOf(invariant: string): string {
  return new RegExp(`^### ${invariant}\\b.*?(?=^##)`, 'msu').exec(spec)?.[0] ?? '';
}

/** `- test/core/decide.test.ts: "name"` */
function citationsIn(text: string): Citation[] {
  return [...text.matchAll(/^- `(test\/[^`]+)`: "(.+)"$/gmu)].map(([, file = '', name = '']) => ({ file, name }));
}

describe('SPEC.md names its tests', () => {
  test.each(invariants)('%s has an Enforced-by, and a test that bears its number', (invariant) => {
    const section = sectionOf(invariant);
    expect(section).toContain('**Enforced by**');
    const bearing = citationsIn(section).filter(({ name }) => new RegExp(`\\b${invariant}\\b`, 'u').test(name));
    expect(bearing.length).toBeGreaterThan(0);
  });

  test('every test that it names exists, in the file that it names', () => {
    const cited = citationsIn(spec);
    expect(cited.length).toBeGreaterThan(invariants.length);
    expect(missingOf(cited)).toEqual([]);
  });

  test('every line that begins like a citation is one', () => {
    const alike = spec.split('\n').filter((line) => /^- `?test\//u.test(line));
    expect(alike).toHaveLength(citationsIn(spec).length);
  });

  test('it knows every invariant that sources and tests cite', () => {
    const sources = ['src', 'test'].flatMap((folder) =>
      readdirSync(new URL(`${folder}/`, root), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.ts') && !/(?:^|\/)(?:generated|node_modules)\//u.test(path))
        .map((path) => read(`${folder}/${path}`)),
    );
    const cited = new Set(sources.flatMap((source) => source.match(/\bI\d+\b/gu) ?? []));
    expect([...cited].filter((name) => !invariants.includes(name))).toEqual([]);
    expect(cited.size).toBeGreaterThan(0);
  });
});

const comparisons: readonly Comparison[] = ['none', 'older', 'equal', 'newer'];

function tell({ outcome, status, at, events }: Cell): string {
  if (outcome !== 'applied') return outcome;
  if (status === 'absent') return 'absent';
  const places: Partial<Record<Cell['at'], string>> = { nothing: ', no epoch', first: ' at 1' };
  const place = places[at] ?? ` at ${at}`;
  if (events.length === 0) return `${status}${place}`;
  return `**${status === 'online' ? 'starts' : 'ends'}**${place}`;
}

function messageRows(): string[] {
  return Object.entries(transitions).flatMap(([state, row]) =>
    (['login', 'will', 'logout'] as const).map((kind) => {
      const cells: Partial<Record<Comparison, Cell>> = row[kind];
      const told = comparisons.map((comparison) => {
        const cell = cells[comparison];
        return cell === undefined ? '' : tell(cell);
      });
      return `| ${[state, kind, ...told].join(' | ')} |`;
    }),
  );
}

function otherRows(): string[] {
  return Object.entries(transitions).map(
    ([state, { prepare, kick, lapse }]) =>
      `| ${[state, tell(prepare.none), tell(kick.none), tell(lapse.early), tell(lapse.due)].join(' | ')} |`,
  );
}

/** A formatter may align columns. */
function withoutAlignment(text: string): string {
  return text.replaceAll(/ +/gu, ' ');
}

test('the transition tables that it prints are those that the tests run', () => {
  const printed = withoutAlignment(spec);
  for (const rows of [messageRows(), otherRows()]) expect(printed).toContain(withoutAlignment(rows.join('\n')));
});
