// Question: what do those who write notice while a million events that are too old go? Commits of 20 births each, one every 20 ms, in turns
// alone and beside retention, in the same tables; and how fast the million goes, at the pace of the service.

import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { decide } from '../../src/core/decide.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { commit, type Entry } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { loadMigrations, migrate } from '../../src/store/migrate.ts';
import { giveUpEvents, sweepGivenUp } from '../../src/store/retention.ts';
import { percentile } from './stats.ts';
import { startTunedPostgres } from './tuned-postgres.ts';

const isQuick = process.argv.includes('--quick');
const events = isQuick ? 20_000 : Number(process.env['WILLOW_BENCH_EVENTS'] ?? 1_000_000);
const endpoints = 100;
const everyMs = 20;
const batchSize = 20;
const turnMs = isQuick ? 500 : 3_000;
const pauseMs = 20;
const dayMs = 86_400_000;
const rules = { graceMs: 5_000, repeatWindowMs: 10_000, takeoverWindowMs: 1_000, leaseMs: 0 };

let epoch = 1;

function batch(): Entry[] {
  epoch += 1;
  return Array.from({ length: batchSize }, (_, n) => {
    const userId = UserId.parse(`user-${(epoch * 7_919 + n) % 100_000}`);
    const identity = { userId, sessionId: SessionId.parse('phone'), epoch: Epoch.parse(epoch) };
    const rest = { clientId: null, device: null, isRedelivery: false, ticket: null };
    const moment = { nowMs: Date.now(), lapseUntilMs: null };
    return { signal: { kind: 'login', ...identity, ...rest }, ...moment, receipt: null, mayBeCommitted: false };
  });
}

type Took = { readonly ms: number; readonly isBeside: boolean };

/** How long each commit took, in ms, while `isOn`; paced by the clock, so that a slow one does not thin out those behind it. */
async function write(pool: pg.Pool, isOn: () => boolean, isBeside: () => boolean): Promise<readonly Took[]> {
  const took: Took[] = [];
  const underWay = new Set<Promise<void>>();
  for (let nextMs = performance.now(); isOn(); nextMs += everyMs) {
    await delay(Math.max(0, nextMs - performance.now()));
    const begun = { fromMs: nextMs, isBeside: isBeside() };
    const one = commit(pool, batch(), (user, signal, moment) => decide(user, signal, moment, rules), null).then(() => {
      took.push({ ms: performance.now() - begun.fromMs, isBeside: begun.isBeside });
    });
    const done = one.finally(() => underWay.delete(done));
    underWay.add(done);
  }
  await Promise.all(underWay);
  return took;
}

/** A tenth as many users as events, ten sessions of each, all of it forty days old. */
async function fill(pool: pg.Pool): Promise<void> {
  const users = events / 10;
  await pool.query(
    `insert into users (user_id, revision, sequence) select 'user-' || n, 1, 10 from generate_series(0, ${users - 1}) n`,
  );
  await pool.query(
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, ended_at, reason)
     select 'user-' || n, 'session-' || s, 'ended', 1, now(), now(), now() - interval '40 days', 'will'
     from generate_series(0, ${users - 1}) n, generate_series(1, 10) s`,
  );
  await pool.query(
    `insert into events (position, user_id, sequence, type, session_id, at)
     select n, 'user-' || n % ${users}, n / ${users} + 1, (array['session.started', 'user.online', 'session.ended', 'user.offline'])[n % 4 + 1],
       'session-1', now() - interval '40 days' from generate_series(0, ${events - 1}) n`,
  );
  await pool.query(`update log_head set position = ${events}`);
  await pool.query(
    `insert into endpoints (id, url, events, lanes, max_batch, secret, created_at, updated_at)
     select 'whe_' || n, 'https://example.com', null, 8, 1, '', now(), now() from generate_series(1, ${endpoints}) n`,
  );
  await pool.query(
    `insert into lanes (endpoint_id, generation, lane, "of", position)
     select 'whe_' || n, 1, l, 8, ${events} from generate_series(1, ${endpoints}) n, generate_series(0, 7) l`,
  );
  await pool.query('vacuum analyze');
}

/** Works and rests in turns, so that whatever else the machine does disturbs both alike. */
async function trimAll(pool: pg.Pool, turn: { isOn: boolean }) {
  const stepsMs: number[] = [];
  let deleted = 0;
  let workedMs = 0;
  for (let isMore = true; isMore; ) {
    turn.isOn = true;
    const beginMs = performance.now();
    while (isMore && performance.now() < beginMs + turnMs) {
      const stepMs = performance.now();
      const given = await giveUpEvents(pool, Date.now() - 30 * dayMs);
      const swept = await sweepGivenUp(pool);
      stepsMs.push(performance.now() - stepMs);
      deleted += swept.events;
      isMore = given.isMore || swept.isMore;
      await delay(pauseMs);
    }
    workedMs += performance.now() - beginMs;
    turn.isOn = false;
    await delay(turnMs);
  }
  return { deleted, seconds: workedMs / 1_000, stepsMs };
}

/** How long the statements of retention took, by their name. */
function timed(pool: pg.Pool, tookMs: Map<string, number[]>): pg.Pool {
  const watched = Object.create(pool) as pg.Pool;
  const query = pool.query.bind(pool) as (statement: pg.QueryConfig) => Promise<unknown>;
  watched.query = (async (statement: pg.QueryConfig) => {
    const beginMs = performance.now();
    const result = await query(statement);
    const name = statement.name ?? '';
    tookMs.set(name, [...(tookMs.get(name) ?? []), performance.now() - beginMs]);
    return result;
  }) as typeof pool.query;
  return watched;
}

const shown = (tookMs: readonly number[]) =>
  [0.5, 0.99, 1].map((share) => percentile(tookMs, share).toFixed(1)).join(' / ');

await using server = await startTunedPostgres();
const pool = openPool(server.url, { connectionsMax: 8, statementMsMax: 600_000, onError: () => undefined });
await migrate(pool, await loadMigrations(new URL('../../prisma/migrations/', import.meta.url)));
await fill(pool);
const { rows: sizes } = await pool.query<{ bytes: number }>(
  `select (pg_total_relation_size('events') / ${events})::int as bytes`,
);
const loads = loadavg().map((load) => load.toFixed(1));
const turn = { isOn: false };
const statementsMs = new Map<string, number[]>();
let isWriting = true;
const writing = write(
  pool,
  () => isWriting,
  () => turn.isOn,
);
const { deleted, seconds, stepsMs } = await trimAll(timed(pool, statementsMs), turn).finally(() => {
  isWriting = false;
});
const took = await writing;
const rows = [false, true].map((isBeside) => {
  const tookMs = took.filter((one) => one.isBeside === isBeside).map(({ ms }) => ms);
  return `| ${isBeside ? 'beside retention' : 'alone'} (${tookMs.length}) | ${shown(tookMs)} |`;
});
process.stdout.write(
  [
    `load average ${loads.join(' ')}; ${events} events of ${sizes[0]?.bytes} bytes, ${endpoints} webhooks of 8 lanes\n`,
    '| commits of 20 births, 50 a second | ms: p50 / p99 / max |',
    '|---|---|',
    ...rows,
    ...[...statementsMs].map(([name, tookMs]) => `| \`${name}\` | ${shown(tookMs)} |`),
    `\n${deleted} events deleted in ${seconds.toFixed(1)} s, ${Math.round(deleted / seconds)}/s; a stretch took ${shown(stepsMs)} ms\n`,
  ].join('\n'),
);
await pool.end();
