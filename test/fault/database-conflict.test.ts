import pg from 'pg';
import { expect, test } from 'vitest';
import { inventBareHistory } from '../support/bare-storm.ts';
import { createDatabase } from '../support/database.ts';
import { absentees, deviationsFrom, readLog } from '../support/history.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { chanceOf, publishAll, untilSettled } from '../support/storm.ts';
import { until } from '../support/until.ts';
import { startWillow } from '../support/willow.ts';

const windows = { GRACE_MS: '0', REPEAT_WINDOW_MS: '0', TAKEOVER_WINDOW_MS: '0' };

test.each([
  ['a serialization failure', '40001', 5],
  ['a deadlock', '40P01', 5],
  // More often than a batch is done again at once.
  ['a serialization failure, over and over', '40001', 30],
  ['a full disk', '53100', 3],
  ['a server that is shutting down', '57P03', 3],
  ['a statement that was cancelled', '57014', 3],
])('%s (%s) that strikes %i times: nothing is lost or doubled', async (_, code, times) => {
  const chance = chanceOf(`database ${code}`);
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await database.pool.query(`
    create sequence strikes;
    create function strike() returns trigger language plpgsql as $$
    begin
      -- A sequence is not rolled back.
      if nextval('strikes') <= ${times} then raise exception 'struck on purpose' using errcode = '${code}'; end if;
      return null;
    end $$;
    create trigger strike after insert on events for each statement execute function strike()`);
  await using willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...windows });
  await willow.logged('link.up');
  const { messages, expected } = inventBareHistory(chance, 60);
  await publishAll(mosquitto.url, messages);
  await untilSettled(mosquitto.url, willow);
  const { rows } = await database.pool.query<{ last_value: string }>('select last_value from strikes');
  expect(Number(rows[0]?.last_value)).toBeGreaterThan(times);
  expect(willow.log().map(({ event }) => event)).not.toContain('link.down');
  const log = await readLog(database.pool);
  expect(deviationsFrom(log, expected)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
});

test('a real deadlock that PostgreSQL ends by failing the write of a batch: the batch is done again', async () => {
  const chance = chanceOf('database deadlock');
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...windows });
  await willow.logged('link.up');
  const say = (userId: string) => publishAll(mosquitto.url, [{ topic: '/logout', payload: userId }]);
  await say('alice');
  await until('alice', async () => (await willow.presence('alice')).sequence === 2);
  const other = new pg.Client({ connectionString: database.url });
  await other.connect();
  try {
    // It lets Willow's connection find the deadlock.
    await other.query(`set deadlock_timeout = '1h'`);
    await other.query(`begin; select from users where user_id = 'alice' for update`);
    await say('alice');
    await until('the write waiting for alice, with the head of the log in its hands', async () => {
      const { rowCount } = await database.pool.query(
        `select from pg_stat_activity where application_name = 'willow' and wait_event_type = 'Lock' and query like '%log_head%'`,
      );
      return rowCount === 1;
    });
    // Returns once the other side of the deadlock has failed.
    await other.query('update log_head set position = position; commit');
  } finally {
    await other.end();
  }
  const { messages, expected } = inventBareHistory(chance, 20);
  await publishAll(mosquitto.url, messages);
  await untilSettled(mosquitto.url, willow);
  const log = new Map(await readLog(database.pool));
  expect(log.get('alice')?.map(({ type }) => type)).toEqual([
    'session.ended',
    'user.offline',
    'session.ended',
    'user.offline',
  ]);
  log.delete('alice');
  expect(deviationsFrom(log, expected)).toEqual([]);
});
