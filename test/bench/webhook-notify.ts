// Question: what does a commit pay for telling the readers (NOTIFY)? The very commit of the ingest, in pairs, with and without that one call,
// while a listener listens.

import pg from 'pg';
import { decide } from '../../src/core/decide.ts';
import type { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import type { Signal } from '../../src/core/signal.ts';
import { commit, type Entry } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { percentile, shown, spreadOf } from './stats.ts';
import { print, type Stage } from './webhook-stage.ts';

export type NotifyOptions = { readonly rounds: number; readonly commits: number };

const notifySql = "pg_notify('willow_log', '')";
const batchSizes = [1, 20, 200] as const;
const rules = { graceMs: 0, repeatWindowMs: 10_000, takeoverWindowMs: 1_000, leaseMs: 0 };

/** The same statements on the same connections, without telling. */
function quiet(pool: pg.Pool, leftOut: () => void): pg.Pool {
  const query = (statement: pg.QueryConfig) => {
    if (statement.text.includes(notifySql)) leftOut();
    const name = `${statement.name}-quiet`;
    return pool.query({ ...statement, name, text: statement.text.replace(notifySql, 'null') });
  };
  return { query } as unknown as pg.Pool;
}

/** Wills of users never heard of: two events each. */
function willsOf(first: number, count: number): readonly Entry[] {
  return Array.from({ length: count }, (_, n) => {
    const identity = { userId: `user-${first + n}` as UserId, sessionId: 'phone' as SessionId, epoch: 1 as Epoch };
    const signal: Signal = {
      kind: 'will',
      ...identity,
      clientId: null,
      device: null,
      isRedelivery: false,
      ticket: null,
    };
    return { signal, nowMs: Date.now(), lapseUntilMs: null, receipt: null, mayBeCommitted: false };
  });
}

export async function benchNotify(stage: Stage, { rounds, commits }: NotifyOptions): Promise<void> {
  await using database = await stage.createDatabase('notify');
  const listener = new pg.Client({ connectionString: database.url });
  let told = 0;
  listener.on('notification', () => {
    told += 1;
  });
  await listener.connect();
  await listener.query('listen willow_log');
  const onError = (error: Error) => {
    throw error;
  };
  const telling = openPool(database.url, { connectionsMax: 1, statementMsMax: 15_000, onError });
  let leftOut = 0;
  const silent = quiet(telling, () => {
    leftOut += 1;
  });
  let users = 0;
  const timed = async (pool: pg.Pool, size: number): Promise<number> => {
    const entries = willsOf(users, size);
    users += size;
    const startedAtMs = performance.now();
    await commit(pool, entries, (user, signal, moment) => decide(user, signal, moment, rules), null);
    return performance.now() - startedAtMs;
  };
  print(
    '\n| one commit (ms, min / median / max of the medians of its rounds) | with NOTIFY | without |\n|---|---|---|',
  );
  for (const size of batchSizes) {
    const medians = { telling: [] as number[], silent: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      const took = { telling: [] as number[], silent: [] as number[] };
      for (let n = 0; n < commits; n += 1) {
        took.telling.push(await timed(telling, size));
        took.silent.push(await timed(silent, size));
      }
      medians.telling.push(percentile(took.telling, 0.5));
      medians.silent.push(percentile(took.silent, 0.5));
    }
    print(`| ${size} logouts | ${shown(spreadOf(medians.telling), 2)} | ${shown(spreadOf(medians.silent), 2)} |`);
  }
  await telling.end();
  await listener.end();
  if (told === 0 || leftOut !== batchSizes.length * rounds * commits)
    throw new Error(`${told} hints came, and ${leftOut} were left out: this compared nothing`);
}
