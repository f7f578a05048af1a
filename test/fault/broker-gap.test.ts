// The broker tells only once that it has not kept our session.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startWillow } from '../support/willow.ts';
import { drain, nthLogged, publishAll } from './broker-witness.ts';

test('that wills may have been lost is not forgotten when the database refuses to record it at first', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url });
  await willow.logged('link.up');
  await publishAll(mosquitto.url, [{ topic: '/login', payload: 'alice' }]);
  await willow.presenceWhen('alice', ({ status, stale }) => status === 'online' && !stale);
  await database.pool.query(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '57P03'; end $$;
    create trigger refuse before update on links for each row when (new.gap_at is distinct from old.gap_at) execute function refuse()`);
  await mosquitto.stop('SIGKILL');
  await mosquitto.restart();
  await willow.child.line((line) => line.includes('"57P03"'), 'that the database refused');
  await database.pool.query('drop trigger refuse on links');
  await nthLogged(willow, 'link.up', 2);
  await drain(mosquitto.url, willow);
  expect(await willow.presence('alice')).toMatchObject({ status: 'online', stale: true });
});
