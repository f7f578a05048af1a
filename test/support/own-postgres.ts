// A PostgreSQL that one test may kill. It gets another port at each start, so Willow reaches it by a proxy, whose port stays.

import pg from 'pg';
import { startEmbeddedDatabase } from '../../src/embedded/database.ts';
import { databaseThrough } from './database-url.ts';
import { createHome, kill, postmasterPid } from './embedded.ts';
import { type PostgresPacket, postgres } from './framing.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';

export type OwnPostgres = AsyncDisposable & {
  /** Through the proxy. */
  readonly url: string;
  readonly proxy: TcpProxy<PostgresPacket>;
  /** Not through the proxy; another one after each restart. */
  readonly pool: () => pg.Pool;
  /** As a crash: the server is gone without a word, and what it did not write down is lost. */
  readonly kill: () => Promise<void>;
  /** It recovers; the proxy leads to it once `open` is called. */
  readonly restart: () => Promise<{ readonly open: () => void }>;
  /** Kills one process of the server, one that works for Willow; PostgreSQL then drops all connections and recovers by itself. */
  readonly killBackend: () => Promise<void>;
};

export async function startOwnPostgres(): Promise<OwnPostgres> {
  const home = await createHome();
  const started: AsyncDisposable[] = [home];
  const start = async () => {
    const server = await startEmbeddedDatabase({ dataDir: home.dataDir });
    started.push(server);
    const pool = new pg.Pool({ connectionString: server.url, max: 2 });
    pool.on('error', () => undefined);
    return { url: server.url, pool, port: Number(new URL(server.url).port) };
  };
  let current = await start();
  const proxy = await startTcpProxy(current.port, postgres);
  return {
    url: databaseThrough(proxy.port, current.url),
    proxy,
    pool: () => current.pool,
    kill: async () => {
      await kill(await postmasterPid(home.dataDir), 'SIGKILL');
      await current.pool.end();
      await until('the end of the processes of the server', async () => !(await answers(current.url)));
    },
    restart: async () => {
      current = await start();
      const { port } = current;
      return { open: () => proxy.pointTo(port) };
    },
    killBackend: async () => {
      const { rows } = await current.pool.query<{ pid: number }>(
        `select pid from pg_stat_activity where application_name = 'willow' order by state_change desc limit 1`,
      );
      const [victim] = rows;
      if (victim === undefined) throw new Error('no process of the server works for Willow');
      process.kill(victim.pid, 'SIGKILL');
    },
    [Symbol.asyncDispose]: async () => {
      await proxy[Symbol.asyncDispose]();
      if (!current.pool.ended) await current.pool.end();
      // The newest first: it stops the server, and the older ones find nothing to stop.
      for (const one of started.toReversed()) await one[Symbol.asyncDispose]();
    },
  };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}
