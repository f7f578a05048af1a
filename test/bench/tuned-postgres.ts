// The PostgreSQL of the benches: told, as any in production is, that it may use more than the 128 MB of its default.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedDatabase } from '../../src/embedded/database.ts';

const settings = { shared_buffers: '1GB', max_wal_size: '4GB' };

export async function startTunedPostgres(): Promise<{ readonly url: string } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), 'willow-bench-'));
  const dataDir = join(directory, 'data');
  {
    await using server = await startEmbeddedDatabase({ dataDir });
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    for (const [name, value] of Object.entries(settings)) await client.query(`alter system set ${name} = '${value}'`);
    await client.end();
  }
  const server = await startEmbeddedDatabase({ dataDir });
  return {
    url: server.url,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
