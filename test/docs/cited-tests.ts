// The tests that a document names: `test/core/decide.test.ts`: "name". They must be there.

import { existsSync, readFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);

export type Citation = { readonly file: string; readonly name: string };

/** Those that are not there, in the file that is named. */
export function missingOf(citations: readonly Citation[]): readonly Citation[] {
  return citations.filter(({ file, name }) => {
    const url = new URL(file, root);
    return !existsSync(url) || !titlesIn(readFileSync(url, 'utf8')).has(name);
  });
}

/** The titles of the tests and groups of a file, as they stand in its source. */
function titlesIn(source: string): Set<string> {
  const title = /^\s*(?:(?:test|describe)\b.*?|[\])].*?)\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/gmu;
  return new Set([...source.matchAll(title)].map(([, , name = '']) => name.replaceAll(/\\(.)/gu, '$1')));
}
