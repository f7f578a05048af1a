// A listener that is stopped in the middle of its work and wakes up when another has taken its place: what it still holds in its hands is worthless.

import type pg from 'pg';
import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { countLogged, drain, expectMetricsToAddUp, publishAll, readSoundLog } from './broker-witness.ts';
import { expectWholeLog, linkStateOf, loseSome, startPair } from './standby-pair.ts';
import { startStorm } from './standby-storm.ts';

/** What a listener writes. */
const tables = ['users', 'sessions', 'events', 'receipts', 'log_head', 'links'];
const renewals = 4;

/** From here on every row that the first process writes is noted down. */
async function watchWritesOfFirst(pool: pg.Pool): Promise<() => Promise<readonly string[]>> {
  await pool.query(`
    create table written_by_first (relation text);
    create function note() returns trigger language plpgsql as $$
      begin insert into written_by_first values (tg_relname); return null; end $$`);
  for (const table of tables) {
    await pool.query(`create trigger watch after insert or update or delete on ${table} for each row
      when (current_setting('application_name') = 'first') execute function note()`);
  }
  return async () => {
    const { rows } = await pool.query<{ relation: string }>('select relation from written_by_first');
    return rows.map(({ relation }) => relation);
  };
}

test('a listener that was stopped and wakes up writes nothing, and leaves the link to the one that took over', async ({
  annotate,
}) => {
  await using pair = await startPair();
  const { first, second, mosquitto, database } = pair;
  await using storm = await startStorm(mosquitto.url);
  await loseSome(pair);
  first.child.kill('SIGSTOP');
  const stoppedAtMs = performance.now();
  await second.logged('link.up');
  await annotate(`SIGSTOP to listening: ${Math.round(performance.now() - stoppedAtMs)} ms`);
  const written = await watchWritesOfFirst(database.pool);
  await until('messages settled by the second', async () => (await second.metric('willow_messages_total')) > 0);

  first.child.kill('SIGCONT');
  await first.logged('lease.lost');
  await first.logged('listener.standing-by');
  expect(await linkStateOf(first)).toEqual({ status: 200, state: 'standing-by' });
  await expectRenewals(database.pool);
  expect(countLogged(second, 'link.up')).toBe(1);
  expect(countLogged(second, 'link.down')).toBe(0);
  expect(countLogged(first, 'link.up')).toBe(1);
  await expectWholeLog(pair, await storm.end());
  expect(await written()).toEqual([]);
  await expectMetricsToAddUp(second);
});

test('what a stopped listener was about to write is refused when it wakes up: nothing ends twice', async () => {
  // Bare ids: what another process has heard meanwhile looks like new wills to the one that wakes up.
  await using pair = await startPair({ REPEAT_WINDOW_MS: '0' });
  const { first, second, mosquitto, database } = pair;
  const userIds = Array.from({ length: 50 }, (_, index) => `user-${index}`);
  const wills = userIds.map((payload) => ({ topic: '/logout', payload }));
  const gate = await database.pool.connect();
  await gate.query('begin; lock table sessions in access exclusive mode');
  await publishAll(mosquitto.url, wills);
  await until('the first process to wait for what it reads', async () => {
    // Whose deadlines are over it asks as well, and that is no batch.
    const waiting = `select from pg_stat_activity
      where application_name = 'first' and wait_event_type = 'Lock' and query like '%union all%unnest%'`;
    return (await database.pool.query(waiting)).rows.length > 0;
  });
  first.child.kill('SIGSTOP');
  await gate.query('rollback');
  gate.release();
  await second.logged('link.up');
  await drain(mosquitto.url, second);
  const written = await watchWritesOfFirst(database.pool);

  first.child.kill('SIGCONT');
  await first.logged('listener.standing-by');
  expect(await written()).toEqual([]);
  const ends = (await readSoundLog(database.pool)).filter(({ type }) => type === 'session.ended');
  expect(ends.map(({ userId }) => userId).toSorted()).toEqual(userIds.toSorted());
});

/** The lease stays with the second holder there was. */
async function expectRenewals(pool: pg.Pool): Promise<void> {
  const leases = new Set<number>();
  await until(`${renewals} renewals of the lease`, async () => {
    const { rows } = await pool.query<{ token: string; until: Date }>('select token, lease_until as until from links');
    expect(rows).toMatchObject([{ token: '2' }]);
    for (const row of rows) leases.add(row.until.getTime());
    return leases.size > renewals;
  });
}
