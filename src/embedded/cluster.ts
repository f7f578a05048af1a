// A directory of PostgreSQL's data ("cluster"): made once, whole or not at all, then found again at each start.
// It is made beside its place and moved there by one rename, so that an initdb that was killed leaves nothing that looks
// like a cluster. Its password is made with it and lies in it, readable by its owner and root only.

import { randomBytes } from 'node:crypto';
import { chown, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { StartError } from '../runtime/start-error.ts';
import { findServerUser, type ServerUser } from './server-user.ts';
import { decisiveLine, findTools, type Tools } from './tools.ts';

export const superuser = 'willow';

export type Cluster = {
  readonly directory: string;
  readonly password: string;
  readonly tools: Tools;
  readonly user: ServerUser;
};

const passwordFile = 'willow.password';

export async function openCluster(dataDir: string): Promise<Cluster> {
  const tools = await findTools();
  const directory = await makeDirectory(dataDir);
  const user = await findServerUser(tools, directory);
  await removeLeftovers(directory);
  const names = await readdir(directory);
  if (names.length === 0) await initialise(directory, tools, user);
  else if (!names.includes('PG_VERSION') || !names.includes(passwordFile)) {
    throw new StartError(
      `${directory} holds something else than a database of Willow: move it away, or set another DATA_DIR.`,
    );
  }
  await refuseOtherVersion(directory, tools, user);
  const password = (await readFile(join(directory, passwordFile), 'utf8')).trim();
  return { directory, password, tools, user };
}

async function makeDirectory(dataDir: string): Promise<string> {
  const directory = join(resolve(dataDir), 'postgres');
  // pg_ctl puts the path between double quotes in a command of the shell, and a line of postmaster.pid.
  if (/["$`\\\n]/.test(directory)) {
    throw new StartError(
      `DATA_DIR must not contain quotes, $, \` or \\ for PostgreSQL's sake, but it is ${resolve(dataDir)}.`,
    );
  }
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return realpath(directory);
}

async function initialise(directory: string, tools: Tools, user: ServerUser): Promise<void> {
  const unfinished = `${directory}.new-${process.pid}`;
  const unfinishedPassword = `${unfinished}.password`;
  try {
    await mkdir(unfinished, { mode: 0o700 });
    await writeFile(unfinishedPassword, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
    if (user.ids !== null) {
      await chown(unfinished, user.ids.uid, user.ids.gid);
      await chown(unfinishedPassword, user.ids.uid, user.ids.gid);
    }
    const { succeeded, output } = await user.run(tools.initdb, [
      `--pgdata=${unfinished}`,
      `--username=${superuser}`,
      `--pwfile=${unfinishedPassword}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // PostgreSQL's own C.UTF-8: sorts by code point, and does not change when the machine's C library does.
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-instructions',
    ]);
    if (!succeeded) throw new StartError(`No database could be made in ${directory}: ${decisiveLine(output)}.`);
    await rename(unfinishedPassword, join(unfinished, passwordFile));
    // Replaces the empty directory. It is no longer empty if another Willow was faster: then its cluster is the one.
    await rename(unfinished, directory).catch((error: unknown) => {
      if (!isOccupied(error)) throw error;
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
    await rm(unfinishedPassword, { force: true });
  }
}

function isOccupied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOTEMPTY' || error.code === 'EEXIST');
}

/** What an initialisation left that was killed in the middle; not that of a Willow at work on it right now. */
async function removeLeftovers(directory: string): Promise<void> {
  const parent = dirname(directory);
  for (const name of await readdir(parent)) {
    const pid = /^postgres\.new-(\d+)/.exec(name)?.[1];
    if (pid === undefined || (Number(pid) !== process.pid && isAlive(Number(pid)))) continue;
    // Left for the next start if an initdb that outlived its Willow is still writing.
    await rm(join(parent, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function refuseOtherVersion(directory: string, tools: Tools, user: ServerUser): Promise<void> {
  const { succeeded, output } = await user.run(tools.postgres, ['-V']);
  if (!succeeded)
    throw new StartError(`The embedded PostgreSQL does not run on this machine: ${decisiveLine(output)}.`);
  const ours = /\d+/.exec(output)?.[0];
  const theirs = (await readFile(join(directory, 'PG_VERSION'), 'utf8')).trim();
  if (ours === theirs) return;
  throw new StartError(
    `${directory} was made by PostgreSQL ${theirs}, and this Willow brings PostgreSQL ${ours}: move its data with pg_dump of version ${theirs}, or move the directory away to start anew.`,
  );
}
