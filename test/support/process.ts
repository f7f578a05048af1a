// A child process that a test owns: its output can be awaited by line, and it does not outlive the test.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';

export type Child = AsyncDisposable & {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Everything it printed so far, line by line. */
  readonly lines: readonly string[];
  /** The first line, earlier or later, for which the test gives a value; fails when the process ends first. */
  readonly line: <T>(find: (line: string) => T | undefined | false, what: string, waitMs?: number) => Promise<T>;
  /** Sends a signal and waits for the end; returns the exit code, null when a signal ended it. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly exited: Promise<number | null>;
};

/** How many files and sockets a process has open. */
export function openFilesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

const lineWaitMs = 60_000;

export async function startChild(command: string, args: readonly string[], options: SpawnOptions = {}): Promise<Child> {
  const child = spawn(command, [...args], { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
  await once(child, 'spawn');
  const lines: string[] = [];
  const listeners = new Set<() => void>();
  const tellAll = () => {
    for (const listener of listeners) listener();
  };
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      tellAll();
    });
  }
  const exited = once(child, 'close').then(([code]) => code as number | null);
  let isOver = false;
  void exited.then(() => {
    isOver = true;
    tellAll();
  });
  const end = async (signal: NodeJS.Signals) => {
    if (!isOver) child.kill(signal);
    return exited;
  };
  return {
    process: child,
    pid: child.pid ?? 0,
    lines,
    exited,
    end,
    kill: (signal) => {
      child.kill(signal);
    },
    line: (find, what, waitMs = lineWaitMs) =>
      new Promise((resolve, reject) => {
        let next = 0;
        const timer = setTimeout(() => stop(`did not say "${what}" within ${waitMs} ms`), waitMs);
        const stop = (why: string) => {
          finish();
          reject(new Error(`${command} ${why}; it said:\n${lines.slice(-40).join('\n')}`));
        };
        const finish = () => {
          clearTimeout(timer);
          listeners.delete(look);
        };
        const look = () => {
          for (; next < lines.length; next += 1) {
            const found = find(lines[next] ?? '');
            if (found === undefined || found === false) continue;
            finish();
            resolve(found as never);
            return;
          }
          if (isOver) stop(`ended before it said "${what}"`);
        };
        listeners.add(look);
        look();
      }),
    [Symbol.asyncDispose]: async () => {
      // A stopped process gets its signals when it goes on.
      child.kill('SIGCONT');
      await end('SIGKILL');
    },
  };
}
