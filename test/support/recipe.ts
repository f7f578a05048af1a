// The Mosquitto of docs/recipes, as it stands there, but for its port and its directories.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IClientOptions } from 'mqtt';
import { type Authority, createAuthority } from './certificates.ts';
import { findFreePort } from './free-port.ts';
import { type Child, startChild } from './process.ts';

export type Recipe = AsyncDisposable & {
  readonly child: Child;
  readonly url: string;
  /** The certificate of whoever has signed that of the broker. */
  readonly caFile: string;
  /** What a client signs in with. */
  readonly as: (user: string) => Promise<IClientOptions>;
};

const recipe = new URL('../../docs/recipes/mosquitto/', import.meta.url);

export const passwordOf = (user: string) => `password of ${user}`;

/** `lines` are what the page says may be added. */
export async function startRecipe(users: readonly string[], lines: readonly string[] = []): Promise<Recipe> {
  await using opening = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'willow-recipe-'));
  opening.defer(() => rm(directory, { recursive: true }));
  const authority = opening.use(await createAuthority());
  const port = await findFreePort();
  await writePasswords(join(directory, 'passwords'), users);
  await writeCertificate(authority, directory);
  await writeFile(join(directory, 'acl'), await readFile(new URL('acl', recipe)));
  const config = (await readFile(new URL('mosquitto.conf', recipe), 'utf8'))
    .replace('listener 8883', `listener ${port} 127.0.0.1`)
    .replaceAll(/\/(?:etc|var\/lib)\/mosquitto\//gu, `${directory}/`);
  // Root may run it; it must not change to a user that cannot enter the directory.
  await writeFile(join(directory, 'mosquitto.conf'), [config, 'user root', ...lines, ''].join('\n'));
  const child = opening.use(await startChild('mosquitto', ['-c', join(directory, 'mosquitto.conf')]));
  await child.line((line) => line.endsWith(' running'), 'running');
  const opened = opening.move();
  return {
    child,
    url: `mqtts://127.0.0.1:${port}`,
    caFile: authority.caFile,
    as: async (user) => ({
      username: user,
      password: passwordOf(user),
      ca: await readFile(authority.caFile, 'utf8'),
      reconnectPeriod: 0,
    }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function writePasswords(file: string, users: readonly string[]): Promise<void> {
  for (const [index, user] of users.entries()) {
    const create = index === 0 ? ['-c'] : [];
    const tool = await startChild('mosquitto_passwd', ['-b', ...create, file, user, passwordOf(user)]);
    if ((await tool.exited) !== 0) throw new Error(`no password for ${user}: ${tool.lines.join('\n')}`);
  }
}

async function writeCertificate(authority: Authority, directory: string): Promise<void> {
  const { certFile, keyFile } = await authority.issue('a broker', { altNames: ['IP:127.0.0.1'] });
  await writeFile(join(directory, 'broker.pem'), await readFile(certFile));
  await writeFile(join(directory, 'broker.key'), await readFile(keyFile));
}
