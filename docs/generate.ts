// Writes what the documents say of every setting, from the one table that the code reads: `.env.example`, and the table in README.md;
// and the OpenAPI document, from the routes. Tests compare, so neither can change without its documentation.

import { readFileSync, writeFileSync } from 'node:fs';
import { settingsTable } from '../src/settings.ts';
import { openApiPath, openApiText } from './openapi.ts';

type Documented = { readonly default: string | null; readonly description: string; readonly isSecret?: true };

const settings: readonly (readonly [string, Documented])[] = Object.entries(settingsTable);

export const envExamplePath = new URL('../.env.example', import.meta.url);
export const readmePath = new URL('../README.md', import.meta.url);

const begin = '<!-- settings: written by npm run docs -->\n';
const end = '<!-- end of settings -->\n';

export function envExample(): string {
  const head = [
    '# Every setting of Willow, with its default: copy this file to .env and uncomment what is to be different.',
    '# Written by `npm run docs`.',
  ];
  const entries = settings.map(([name, setting]) => {
    const fromFile = setting.isSecret ? [`# Secret: ${name}_FILE may name a file that holds it instead.`] : [];
    return ['', `# ${setting.description}`, ...fromFile, `# ${name}=${setting.default ?? ''}`].join('\n');
  });
  return `${[...head, ...entries].join('\n')}\n`;
}

/** The README with the table as it has to be. */
export function withSettings(readme: string): string {
  const from = readme.indexOf(begin) + begin.length;
  const to = readme.indexOf(end);
  if (from < begin.length || to < from) throw new Error('README.md has lost the marks around its table of settings');
  const rows = settings.map(([name, setting]) => {
    const value = setting.default === null ? '' : `\`${setting.default}\``;
    const secret = setting.isSecret ? ' (secret)' : '';
    return `| \`${name}\`${secret} | ${value} | ${setting.description} |\n`;
  });
  return `${readme.slice(0, from)}| setting | default | what it does |\n|---|---|---|\n${rows.join('')}${readme.slice(to)}`;
}

if (import.meta.main) {
  writeFileSync(envExamplePath, envExample());
  writeFileSync(readmePath, withSettings(readFileSync(readmePath, 'utf8')));
  writeFileSync(openApiPath, await openApiText());
}
