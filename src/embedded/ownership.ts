// One Willow at a time owns an embedded database, and stops it in the end: the owner holds an advisory lock on a
// connection of its own, which PostgreSQL releases when the process dies, however it dies. A connection that is lost
// while the server lives (PostgreSQL drops all when one of its processes crashes) is made again.

import { once } from 'node:events';
import pg from 'pg';
import { pause } from '../runtime/loop.ts';
import { StartError } from '../runtime/start-error.ts';
import { superuser } from './cluster.ts';

export type ServerAddress = { readonly port: number; readonly password: string };

export type Ownership = {
  /** The owner's last deed, done while nobody else can become the owner. */
  readonly end: (stopServer: () => Promise<void>) => Promise<void>;
};

// Any number, as long as all versions of Willow agree. The lock is in the database `postgres`, where nobody else takes any.
const lockKey = 0x57_49_4c_4c;
// A Willow that was killed a moment ago releases the lock within milliseconds, one that lives never.
const lockWaitMs = 2_000;
const connectMs = 5_000;
const reconnectMs = 1_000;

/** Throws a StartError when another Willow is the owner, and any other error when the server does not answer (yet). */
export async function takeOwnership(address: ServerAddress, directory: string): Promise<Ownership> {
  const ending = new AbortController();
  const lock = (): Promise<pg.Client> => takeLock(address, directory);
  const kept = keepLock(await lock(), lock, ending.signal);
  return {
    async end(stopServer) {
      ending.abort();
      const client = await kept;
      try {
        await stopServer();
      } finally {
        await client?.end();
      }
    },
  };
}

/** A connection to the server's own database, for administration. */
export async function connect({ port, password }: ServerAddress): Promise<pg.Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: superuser,
    password,
    database: 'postgres',
    ssl: false,
    application_name: `Willow ${process.pid}`,
    connectionTimeoutMillis: connectMs,
  });
  // That the connection ended is what matters, and who uses it is told so; the reason is the server's log's.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Holds the lock until the signal aborts, and then returns the connection that has it, if one has. */
async function keepLock(
  first: pg.Client,
  lock: () => Promise<pg.Client>,
  signal: AbortSignal,
): Promise<pg.Client | null> {
  let client: pg.Client | null = first;
  while (!signal.aborted) {
    if (client !== null) await once(client, 'end', { signal }).catch(() => undefined);
    if (signal.aborted) break;
    client = await lock().catch(() => null);
    if (client === null) await pause(reconnectMs, signal);
  }
  return client;
}

async function takeLock(address: ServerAddress, directory: string): Promise<pg.Client> {
  const client = await connect(address);
  try {
    await client.query(`SET lock_timeout = ${lockWaitMs}`);
    await client.query('SELECT pg_advisory_lock($1)', [lockKey]);
    return client;
  } catch (error) {
    const isHeldByAnother = error instanceof pg.DatabaseError && error.code === '55P03';
    const refusal = isHeldByAnother ? await refuse(client, directory, error) : error;
    await client.end();
    throw refusal;
  }
}

async function refuse(client: pg.Client, directory: string, cause: unknown): Promise<StartError> {
  const { rows } = await client.query<{ readonly owner: string }>(
    `SELECT application_name AS owner FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND granted AND objid = $1`,
    [lockKey],
  );
  const owner = rows[0]?.owner.replace('Willow ', ' (process ').concat(')') ?? '';
  return new StartError(
    `The embedded database in ${directory} is in use by another Willow${owner}: stop that one, or set another DATA_DIR.`,
    { cause },
  );
}
