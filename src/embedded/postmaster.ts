// The server process of a cluster: found by the lock file it leaves in the directory, started, stopped.
// It outlives a Willow that is killed, and its lock file outlives a server that is killed: both are ordinary here.

import { readFile, rm, truncate } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StartError } from '../runtime/start-error.ts';
import { type Cluster, isAlive } from './cluster.ts';
import { decisiveLine, run } from './tools.ts';

export type Postmaster = { readonly pid: number; readonly port: number };

const startSecondsMax = 60;
// Mostly a few milliseconds; a last checkpoint on a slow disk takes longer.
const stopMs = 60_000;
const pollMs = 10;

const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: 100,
  // A small server: no workers for reading, replication or parallel queries, and at most this much log to recover.
  io_method: 'sync',
  wal_level: 'minimal',
  max_wal_senders: 0,
  max_wal_size: '256MB',
  max_parallel_workers_per_gather: 0,
  max_logical_replication_workers: 0,
  timezone: 'UTC',
  // The log is emptied at each start, and then says only what ends the server or one connection.
  log_min_messages: 'fatal',
};

/** The server that holds the directory, be it starting, ready or stopping; null when nobody does. */
export async function findPostmaster(directory: string): Promise<Postmaster | null> {
  const lockFile = join(directory, 'postmaster.pid');
  const text = await readIfThere(lockFile);
  if (text === null) return null;
  // The format of PostgreSQL's lock file: pid, directory, start time, port, …
  const lines = text.split('\n');
  const pid = Math.abs(Number.parseInt(lines[0] ?? '', 10));
  // The lock of a dead server is PostgreSQL's to take over.
  if (pid > 0 && !isAlive(pid)) return null;
  if (pid > 0 && (await isServerOf(pid, directory))) return { pid, port: Number(lines[3]) };
  // After a reboot the pid may be somebody else's (in a container it often is), and a power cut may leave the file empty:
  // PostgreSQL would take either for a server.
  await rm(lockFile, { force: true });
  return null;
}

async function isServerOf(pid: number, directory: string): Promise<boolean> {
  const command =
    process.platform === 'linux'
      ? ((await readIfThere(`/proc/${pid}/cmdline`)) ?? '').replaceAll('\0', ' ')
      : (await run('ps', ['-o', 'command=', '-p', String(pid)])).output;
  return command.includes(`postgres -D ${directory} `);
}

async function readIfThere(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return null;
    throw error;
  });
}

/** Starts the server and waits until it is ready; says why not otherwise. */
export async function startPostmaster({ directory, tools, user }: Cluster): Promise<StartError | null> {
  const log = join(directory, 'willow.log');
  await truncate(log).catch(() => undefined);
  const options = Object.entries({ ...settings, port: await findFreePort() }).map(
    ([name, value]) => `-c ${name}=${value}`,
  );
  const { succeeded, output } = await user.run(tools.pgCtl, [
    'start',
    '-w',
    `--timeout=${startSecondsMax}`,
    `--pgdata=${directory}`,
    `--log=${log}`,
    `--options=${options.join(' ')}`,
  ]);
  if (succeeded) return null;
  const said = (await readIfThere(log)) || output;
  return new StartError(`The embedded database in ${directory} does not start: ${decisiveLine(said)}.`);
}

/** Stops the server, which ends every connection at once and writes everything down, and waits until it is gone. */
export async function stopPostmaster({ directory, tools, user }: Cluster): Promise<void> {
  const postmaster = await findPostmaster(directory);
  if (postmaster === null) return;
  // pg_ctl is not asked to wait: it watches the lock file only, which may be another server's by the time it looks.
  const { output } = await user.run(tools.pgCtl, ['stop', '--no-wait', '--mode=fast', `--pgdata=${directory}`]);
  const untilMs = performance.now() + stopMs;
  while (await isServerOf(postmaster.pid, directory)) {
    if (performance.now() > untilMs) {
      throw new Error(`The embedded database in ${directory} does not stop: ${decisiveLine(output)}.`);
    }
    await delay(pollMs);
  }
}

async function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
