// The one pool of connections to PostgreSQL, and the ways in which the database can say no.

import pg from 'pg';

const connectTimeoutMs = 5_000;
/** What holds a transaction open longer holds up those who wait for its locks. */
const idleInTransactionTimeoutMs = 2_000;

// Every statement on the hot path finds its rows by index. A plan is kept from the time when the tables were empty, and would scan and hash
// them whole until statistics are gathered; so those ways are closed from the start.
const closedWays = ['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_material', 'jit'];
/** The parsers below read times in the ISO style. */
const sessionOptions = [...closedWays.map((way) => `-c ${way}=off`), '-c datestyle=ISO'].join(' ');

export function openPool(
  url: string,
  options: {
    readonly connectionsMax: number;
    readonly statementMsMax: number;
    readonly onError: (error: Error) => void;
  },
): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.connectionsMax,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: options.statementMsMax + 1_000,
    statement_timeout: options.statementMsMax,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    options: sessionOptions,
    keepAlive: true,
    application_name: 'willow',
    types: { getTypeParser },
  });
  // An idle connection that breaks is replaced by the pool; without a listener it would end the process.
  pool.on('error', options.onError);
  return pool;
}

/** When the signal aborts, nobody waits for a statement that is under way on this pool: its connection is closed, and the server ends it alone. */
export function cutWhenAborted(pool: pg.Pool, signal: AbortSignal): void {
  const open = new Set<pg.PoolClient>();
  pool.on('connect', (client) => void open.add(client));
  pool.on('remove', (client) => void open.delete(client));
  const cut = (): void => {
    for (const client of open) void client.end();
  };
  signal.addEventListener('abort', cut, { once: true });
}

const parsers: Record<number, (text: string) => unknown> = {
  [pg.types.builtins.INT8]: Number,
  [pg.types.builtins.TIMESTAMPTZ]: (text: string) => Date.parse(text),
};

/** Every bigint of ours is within 2^53 (epochs, positions, sequences), every time is wanted in ms. */
function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  return (format !== 'binary' && parsers[oid]) || pg.types.getTypeParser(oid, format);
}

/** The data cannot be stored (SQLSTATE classes 22, 23 and 54): trying again does not help. */
export class DataRefusedError extends Error {
  override readonly name = 'DataRefusedError';
}

/** Somebody else holds the ingest lease: nothing was written, and nothing of this process may be. */
export class FencedError extends Error {
  override readonly name = 'FencedError';
}

/** It was asked for under an Idempotency-Key, and is done: nothing was written. */
export class DoneBeforeError extends Error {
  override readonly name = 'DoneBeforeError';
}

/** A user changed between the read and the write: read and decide again. */
export class ConflictError extends Error {
  override readonly name = 'ConflictError';
}

/** The database cannot be reached, or cannot work now: trying again later helps. */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError';
}

/** One statement; what fails is thrown as one of the errors above, or as it is when it is a defect of ours. */
export async function ask<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  /** With `rowMode` rows are arrays, which cost less than objects where there are many. */
  statement: pg.QueryConfig & { readonly rowMode?: 'array' },
): Promise<pg.QueryResult<Row>> {
  try {
    return await pool.query<Row>(statement);
  } catch (error) {
    throw meaningOf(error);
  }
}

// SQLSTATE classes: connection exception, insufficient resources, operator intervention, system error; and a server that is read-only.
const awayCodes = /^(?:08|53|57|58)|^25006$/;

export function meaningOf(error: unknown): unknown {
  // Whatever does not come from the server comes from the way to it.
  if (!(error instanceof pg.DatabaseError))
    return new DatabaseAwayError('the database cannot be reached', { cause: error });
  const code = error.code ?? '';
  if (code === '40001' || code === '40P01')
    return new ConflictError('a user changed since it was read', { cause: error });
  if (/^(?:2[23]|54)/.test(code)) return new DataRefusedError('the database refuses the data', { cause: error });
  if (awayCodes.test(code)) return new DatabaseAwayError('the database cannot work now', { cause: error });
  return error;
}
