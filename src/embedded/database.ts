// The embedded database: a real PostgreSQL in DATA_DIR for whoever sets no DATABASE_URL, started before the app, which
// sees nothing but a URL. It is durable, listens on the loopback address only, and is found again by the next start
// if this process is killed. What makes a start impossible is thrown as one sentence (StartError).

import { setTimeout as delay } from 'node:timers/promises';
import { StartError } from '../runtime/start-error.ts';
import { type Cluster, openCluster, superuser } from './cluster.ts';
import { connect, type Ownership, type ServerAddress, takeOwnership } from './ownership.ts';
import { findPostmaster, startPostmaster, stopPostmaster } from './postmaster.ts';

export interface EmbeddedDatabase extends AsyncDisposable {
  readonly url: string;
}

const database = 'willow';

// A server killed in the middle of much work first replays up to 256 MB of log, or writes as much when it stops.
const readyMs = 60_000;
// Long enough for the last processes of a killed server to leave, and for another free port if one was taken meanwhile.
const startRetryMs = 5_000;
const pollMs = 100;

export async function startEmbeddedDatabase({ dataDir }: { readonly dataDir: string }): Promise<EmbeddedDatabase> {
  try {
    const cluster = await openCluster(dataDir);
    const { address, ownership } = await reachServer(cluster);
    const stop = (): Promise<void> => ownership.end(() => stopPostmaster(cluster));
    await createDatabase(address).catch(async (cause: unknown) => {
      await stop();
      throw new StartError(`The embedded database in ${cluster.directory} is not usable: ${messageOf(cause)}.`, {
        cause,
      });
    });
    return {
      url: `postgresql://${superuser}:${address.password}@127.0.0.1:${address.port}/${database}?sslmode=disable`,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    throw inOneSentence(error, dataDir);
  }
}

type Reached = { readonly address: ServerAddress; readonly ownership: Ownership };

/** Starts the server, or adopts the one that a killed Willow left; one that is just stopping is waited for. */
async function reachServer(cluster: Cluster): Promise<Reached> {
  const { directory, password } = cluster;
  const begunMs = performance.now();
  let failedSinceMs: number | null = null;
  let failure: unknown = null;
  while (performance.now() - begunMs < readyMs) {
    const postmaster = await findPostmaster(directory);
    if (postmaster === null) {
      const refusal = await startPostmaster(cluster);
      if (refusal === null) continue;
      failedSinceMs ??= performance.now();
      if (performance.now() - failedSinceMs >= startRetryMs) throw refusal;
    } else {
      try {
        const address = { port: postmaster.port, password };
        return { address, ownership: await takeOwnership(address, directory) };
      } catch (error) {
        if (error instanceof StartError) throw error;
        failure = error;
      }
    }
    await delay(pollMs);
  }
  throw new StartError(
    `The embedded database in ${directory} was not ready within ${readyMs / 1_000} s: ${messageOf(failure)}.`,
    { cause: failure },
  );
}

async function createDatabase(address: ServerAddress): Promise<void> {
  const client = await connect(address);
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${database}`);
  } finally {
    await client.end();
  }
}

/** What the file system refuses (no right, no space) is for the operator too. */
function inOneSentence(error: unknown, dataDir: string): unknown {
  if (!(error instanceof Error && 'syscall' in error)) return error;
  return new StartError(`The embedded database cannot use DATA_DIR ${dataDir}: ${error.message}.`, { cause: error });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
