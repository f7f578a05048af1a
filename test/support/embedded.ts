// What tests need to treat an embedded database badly: directories to lose, owners to kill, server processes to look at.
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type Child, startChild } from './process.ts';
import { until } from './until.ts';

export type Home = { readonly path: string; readonly dataDir: string } & AsyncDisposable;

/** A directory that only its owner may enter; in the end any server in it is stopped and all of it is gone. */
export async function createHome(): Promise<Home> {
  const path = await mkdtemp(join(tmpdir(), 'willow-embedded-'));
  return {
    path,
    dataDir: join(path, 'data'),
    async [Symbol.asyncDispose]() {
      const pid = await postmasterPid(join(path, 'data')).catch(() => null);
      if (pid !== null && isAlive(pid)) await kill(pid, 'SIGQUIT');
      await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    },
  };
}

export type Owner = Child & {
  readonly answer: { readonly url?: string; readonly name?: string; readonly message?: string };
};

/** Another process that starts the database in the same way, in a process group of its own, and what became of it. */
export async function startOwner(dataDir: string): Promise<Owner> {
  const child = await spawnOwner(dataDir);
  const isAnswer = (line: string) => line.startsWith('{') && (JSON.parse(line) as Owner['answer']);
  return Object.assign(child, { answer: await child.line(isAnswer, 'a URL or a refusal') });
}

export async function spawnOwner(dataDir: string): Promise<Child> {
  const script = fileURLToPath(new URL('./embedded-owner.ts', import.meta.url));
  return startChild(process.execPath, [script, dataDir], { detached: true });
}

/** The pid in the lock file of the server, as PostgreSQL wrote it. */
export async function postmasterPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8'), 10);
}

/** Kills and waits until it is gone. */
export async function kill(pid: number, signal: NodeJS.Signals): Promise<void> {
  process.kill(pid, signal);
  await until(`the end of process ${pid} by ${signal}`, () => !isAlive(pid));
}

export function isAlive(pid: number): boolean {
  try {
    // Where nobody buries the dead (process 1 of a bare container), they keep their number but no command line.
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** One statement on a connection of its own; the first column of its first row. */
export async function ask(url: string, statement: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<unknown[]>({ text: statement, rowMode: 'array' });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}

/** The real user id of a process and its effective capabilities, as the kernel knows them. */
export async function privilegesOf(pid: number): Promise<{ readonly uid: number; readonly capabilities: bigint }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
  const capabilities = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1]}`);
  return { uid, capabilities };
}
