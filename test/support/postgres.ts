// A PostgreSQL of its own, empty, in a directory of its own; both are gone once it is disposed of.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedDatabase } from '../../src/embedded/database.ts';

export async function startPostgres(): Promise<{ readonly url: string } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), 'willow-postgres-'));
  // PostgreSQL does not run as root: started by root it runs as another user, who must be able to pass.
  await chmod(directory, 0o711);
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const server = await startEmbeddedDatabase({ dataDir: join(directory, 'data') });
    return {
      url: server.url,
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
