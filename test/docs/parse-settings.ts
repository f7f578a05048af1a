// An environment, as the process would take it, with two files of secrets.

import { expect } from 'vitest';
import { parseSettings, type Settings, SettingsError } from '../../src/settings.ts';

const files: Readonly<Record<string, string>> = {
  '/run/secrets/key': 'a key of some length\n',
  '/run/secrets/empty': '\n',
};

export function readFile(path: string): string {
  const text = files[path];
  if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
  return text;
}

export function parse(environment: Record<string, string>): Settings {
  return parseSettings(environment, readFile);
}

export function problemsOf(environment: Record<string, string>): readonly string[] {
  try {
    parse(environment);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const [head, ...problems] = error.message.split('\n');
    expect(head).toBe('the settings are wrong:');
    return problems.map((problem) => problem.trim());
  }
  return [];
}
