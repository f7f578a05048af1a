// The code in the documents, as whoever copies it would get it.

import { readFileSync } from 'node:fs';

/** The text of the one block of a page whose opening fence says this. */
export function documented(page: string, fence: string, under = ''): string {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
  const from = Math.max(0, text.indexOf(under));
  const begin = text.indexOf(`\`\`\`${fence}\n`, from);
  const end = text.indexOf('\n```', begin);
  if (begin < 0 || end < 0) throw new Error(`${page} has no block of ${fence}`);
  return text.slice(text.indexOf('\n', begin) + 1, end + 1);
}

export function hasDocumented(page: string, fence: string): boolean {
  return readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8').includes(`\`\`\`${fence}\n`);
}
