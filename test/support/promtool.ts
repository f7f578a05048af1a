// promtool, Prometheus' own judge of what is served to it and of rules.

import { spawnSync } from 'node:child_process';

export type Judgement = { readonly status: number | null; readonly said: string };

/** `input` goes to its standard input. */
export function promtool(args: readonly string[], input = ''): Judgement {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { input, encoding: 'utf8', timeout: 20_000 });
  if (error !== undefined) throw error;
  return { status, said: `${stdout}${stderr}` };
}
