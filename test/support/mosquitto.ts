// A real Mosquitto of a test's own, on a free port, with persistence and an unlimited queue; it can be stopped, killed, and started
// again with what it kept.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from './free-port.ts';
import { type Child, startChild } from './process.ts';

export type Mosquitto = AsyncDisposable & {
  readonly url: string;
  readonly port: number;
  readonly child: Child;
  /** Ends it by the signal; SIGTERM publishes every will, SIGKILL none. */
  readonly stop: (signal: NodeJS.Signals) => Promise<void>;
  /** Starts it again on the same port with the same store. */
  readonly restart: () => Promise<void>;
};

export type MosquittoOptions = { readonly inflightMax?: number; readonly lines?: readonly string[] };

export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const directory = await mkdtemp(join(tmpdir(), 'willow-mosquitto-'));
  const port = await findFreePort();
  const configFile = join(directory, 'mosquitto.conf');
  const config = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'persistence true',
    `persistence_location ${directory}/`,
    'max_queued_messages 0',
    `max_inflight_messages ${options.inflightMax ?? 100}`,
    // Root may run it; it must not change to a user that cannot enter the directory.
    'user root',
    'log_type error',
    'log_type warning',
    'log_type notice',
    'log_type information',
    'connection_messages false',
    ...(options.lines ?? []),
  ];
  await writeFile(configFile, `${config.join('\n')}\n`);
  const start = async () => {
    const child = await startChild('mosquitto', ['-c', configFile]);
    await child.line((line) => line.endsWith(' running'), 'running');
    return child;
  };
  let child = await start();
  return {
    url: `mqtt://127.0.0.1:${port}`,
    port,
    get child() {
      return child;
    },
    stop: async (signal) => {
      await child.end(signal);
    },
    restart: async () => {
      child = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
