// Retention as the running service does it, and what those are told who come too late for what went.

import { expect, test } from 'vitest';
import { createEndpoint, enableEndpoint } from '../../src/store/endpoints.ts';
import { giveUpEvents, logHorizon, sweepGivenUp } from '../../src/store/retention.ts';
import { actor, appendEvents, openTables, sealing, wish } from '../support/endpoints.ts';
import { call } from '../support/http.ts';
import { readLogRow } from '../support/retention.ts';
import { until } from '../support/until.ts';
import { startWillow } from '../support/willow.ts';

const dayMs = 86_400_000;
/** As the README says; a statement may take far longer. */
const stopMsMax = 5_000;

test('what is older than the horizon goes a stretch at a time, and the horizon says up to when', async () => {
  await using own = await openTables();
  const beginMs = Date.parse('2026-11-23T08:00:00Z');
  await appendEvents(
    own.pool,
    Array.from({ length: 2_500 }, (_, n) => beginMs + n * 1_000),
  );
  expect(await logHorizon(own.pool)).toBe(null);
  const stretches: number[] = [];
  for (let isMore = true; isMore; ) {
    const given = await giveUpEvents(own.pool, beginMs + 2_200_000);
    const swept = await sweepGivenUp(own.pool);
    stretches.push(swept.events);
    isMore = given.isMore || swept.isMore;
  }
  // The newest before the horizon is kept.
  expect(stretches).toEqual([999, 1_000, 200]);
  expect(await logHorizon(own.pool)).toBe(beginMs + 2_199_000);
  const { rows } = await own.pool.query<{ first: number; count: number }>(
    'select min(position)::int as first, count(*)::int as count from events',
  );
  expect(rows).toEqual([{ first: 2_200, count: 301 }]);
});

test('of a user whose sessions are many, all but the newest go, however many at once', async () => {
  await using own = await openTables();
  await appendEvents(own.pool, [dayMs]);
  await own.pool.query(`update events set type = 'session.ended'`);
  await own.pool.query(
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, ended_at, reason)
     select 'ann', 'login-' || n, 'ended', n, now(), now(), to_timestamp(n), 'will' from generate_series(1, 2500) n`,
  );
  await giveUpEvents(own.pool, 2 * dayMs);
  const swept: unknown[] = [];
  for (let isMore = true; isMore; ) {
    const { sessions, ...rest } = await sweepGivenUp(own.pool);
    swept.push(sessions);
    isMore = rest.isMore;
  }
  expect(swept).toEqual([1_000, 1_000, 468]);
  const { rows } = await own.pool.query<{ oldest: number; count: number }>(
    'select min(epoch)::int as oldest, count(*)::int as count from sessions',
  );
  expect(rows).toEqual([{ oldest: 2_469, count: 32 }]);
});

test('a webhook that has not got it holds the log back, and is named; once it is disabled it does not, and is told that it was left behind', async () => {
  await using own = await openTables();
  const nowMs = Date.now();
  await appendEvents(
    own.pool,
    Array.from({ length: 12 }, (_, n) => nowMs - (n < 10 ? 40 : 1) * dayMs + n * 1_000),
  );
  const made = await createEndpoint(own.pool, sealing, { ...wish, lanes: 1, after: 4, isEnabled: true }, actor);
  if (made.kind !== 'done') throw new Error(made.kind);
  const { id } = made.endpoint;
  await using willow = await startWillow({ DATABASE_URL: own.database.url, ROLES: 'api', EVENT_RETENTION_DAYS: '30' });
  expect(await willow.logged('log.held-back')).toMatchObject({ level: 'warn', endpointId: id, retentionDays: 30 });
  await until('what it has got to go', async () => (await readLogRow(own.pool)).tail === 4);
  expect(await willow.metric('willow_log_trimmed_total')).toBe(3);
  expect(await willow.metric('willow_sessions_trimmed_total')).toBe(0);
  const heldDays = (await willow.metric('willow_log_held_seconds')) / 86_400;
  expect(heldDays).toBeGreaterThan(9.9);
  expect((await willow.metric('willow_log_oldest_seconds')) / 86_400 - heldDays).toBeCloseTo(30, 1);

  type Page = { readonly data: { readonly sequence: number }[]; readonly nextCursor: string };
  const page = async (query: string) => willow.get<Page>(`/users/ann/events?${query}`);
  const first = await page('limit=2');
  // The newest before is kept for what was, and is not listed.
  expect(first.body.data.map(({ sequence }) => sequence)).toEqual([5, 6]);
  const json = { headers: { 'content-type': 'application/json' }, body: '{"enabled":false}' };
  expect(await call(`${willow.http}/webhooks/${id}`, { method: 'PATCH', ...json })).toMatchObject({ status: 200 });
  await giveUpEvents(own.pool, nowMs - 30 * dayMs);
  const gone = { status: 410, body: { type: 'urn:willow:problem:events-gone', after: 10 } };
  // Whether its rows are there or not.
  expect(await page(`limit=2&cursor=${first.body.nextCursor}`)).toMatchObject(gone);
  await sweepGivenUp(own.pool);
  expect(await page(`limit=2&cursor=${first.body.nextCursor}`)).toMatchObject(gone);
  const { body } = await page('limit=2');
  expect(body).toMatchObject({ data: [{ sequence: 11 }, { sequence: 12 }], nextCursor: null });
  expect((await page('limit=100')).body.data).toHaveLength(2);

  expect(await enableEndpoint(own.pool, id, actor)).toEqual({ kind: 'gone', startsAfter: 10 });
  const enabling = await call(`${willow.http}/webhooks/${id}/enable`, { method: 'POST', ...json, body: '{}' });
  expect(enabling).toMatchObject({ status: 409, body: { type: 'urn:willow:problem:webhook-left-behind', after: 10 } });
});

test('it waits on a connection of its own, and a statement of it that is under way holds up no stop', async () => {
  await using own = await openTables();
  const nowMs = Date.now();
  await appendEvents(own.pool, [nowMs - 40 * dayMs, nowMs - 39 * dayMs, nowMs]);
  const held = await own.pool.connect();
  try {
    await held.query('set idle_in_transaction_session_timeout = 0');
    await held.query('begin');
    await held.query('select from log_head for update');
    await using willow = await startWillow({
      DATABASE_URL: own.database.url,
      ROLES: 'api',
      EVENT_RETENTION_DAYS: '30',
    });
    await until('retention to wait for the head of the log', async () => {
      const { rowCount } = await own.database.pool.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%willow_give_up%'`,
      );
      return rowCount === 1;
    });
    const ofRetention = { pool: 'retention' };
    expect(await willow.metric('willow_database_connections', { ...ofRetention, state: 'in_use' })).toBe(1);
    expect(await willow.metric('willow_database_connections_max', ofRetention)).toBe(1);
    const stopped = performance.now();
    expect(await willow.child.end('SIGTERM')).toBe(0);
    expect(performance.now() - stopped).toBeLessThan(stopMsMax);
  } finally {
    await held.query('rollback');
    held.release(true);
  }
});
