// Several statements as one transaction, for what is done seldom and must hold together. The hot path does not come here: each of its writes
// is one statement. Two transactions that would wait for each other for ever are told apart by the server; the one that loses is done again.

import type pg from 'pg';
import { ConflictError, meaningOf } from './database.ts';

/** What must run inside a transaction asks for one of these; only `transact` has them. */
export type Tx = {
  readonly ask: <Row extends pg.QueryResultRow>(statement: pg.QueryConfig) => Promise<pg.QueryResult<Row>>;
};

const triesMax = 5;

/** Commits when `work` returns, rolls back when it throws. */
export async function transact<Result>(pool: pg.Pool, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt(pool, work);
    } catch (error) {
      if (!(error instanceof ConflictError) || tries === triesMax) throw error;
    }
  }
}

async function attempt<Result>(pool: pg.Pool, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  const client = await connect(pool);
  const ask: Tx['ask'] = async <Row extends pg.QueryResultRow>(statement: pg.QueryConfig) => {
    try {
      return await client.query<Row>(statement);
    } catch (error) {
      throw meaningOf(error);
    }
  };
  // A connection that breaks says so twice: to the statement that is running, and as this event.
  const heardByTheStatement = () => {};
  client.on('error', heardByTheStatement);
  let isClean = false;
  try {
    await ask({ text: 'begin isolation level read committed' });
    const result = await work({ ask });
    await ask({ text: 'commit' });
    isClean = true;
    return result;
  } catch (error) {
    isClean = await ask({ text: 'rollback' }).then(
      () => true,
      () => false,
    );
    throw error;
  } finally {
    client.off('error', heardByTheStatement);
    client.release(!isClean);
  }
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw meaningOf(error);
  }
}
