// The key that secrets are encrypted with, for whoever sets no SECRET_KEY: made once, kept beside the embedded database, readable by
// Willow's own user only (the user that PostgreSQL runs as under root is another one, and is shut out). Whoever calls this owns the database, so that
// nobody else makes one at the same time.

import { open, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { keysOf, newKey, type SecretKeys } from '../runtime/secret-key.ts';
import { StartError } from '../runtime/start-error.ts';

const keyFile = 'secret-key';

/** What the file holds; where there is none it is made. */
export async function keepSecretKey(dataDir: string): Promise<SecretKeys> {
  const path = join(resolve(dataDir), keyFile);
  const keys = keysOf(await readOrMake(path));
  if (keys !== null) return keys;
  throw new StartError(
    `${path} holds no key (32 bytes as base64url): put back the one that was there, or move it away and rotate the secret of every webhook.`,
  );
}

async function readOrMake(path: string): Promise<string> {
  try {
    return (await readOrNull(path)) ?? (await make(path, newKey()));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(`No key can be kept in ${path} (${why}): mend that, or set SECRET_KEY.`, { cause });
  }
}

async function readOrNull(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** Whole, and on the disk, before it has its name: what is encrypted with it must not outlive it. */
async function make(path: string, key: string): Promise<string> {
  const unfinished = `${path}.new`;
  await rm(unfinished, { force: true });
  const file = await open(unfinished, 'wx', 0o600);
  try {
    await file.writeFile(`${key}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
  const directory = await open(join(path, '..'), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
  return key;
}
