// A redelivery of a bare id is known by its packet id and content. A new session at the broker counts its packets from 1 again:
// then the same number and content are another message.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { drain, nthLogged, publishAll, readSoundLog } from './broker-witness.ts';

const will = { topic: '/logout', payload: '42' };

/** Delivers the will to a process that cannot read it any more: the next one is given it again, with DUP. */
async function deliverInVain(mosquitto: Mosquitto, willow: Willow): Promise<void> {
  willow.child.kill('SIGSTOP');
  await publishAll(mosquitto.url, [will]);
  await willow.child.end('SIGKILL');
}

test('a bare will of a new broker session is no redelivery of one of an earlier session with the same packet id', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  const environment = { MQTT_URL: mosquitto.url, DATABASE_URL: database.url, REPEAT_WINDOW_MS: '0' };
  const receipts = async () => {
    const select = "select packet_id as packet, encode(digest, 'hex') as digest from receipts";
    return (await database.pool.query<{ packet: number; digest: string }>(select)).rows;
  };
  await using first = await startWillow(environment);
  await first.logged('link.up');
  await publishAll(mosquitto.url, [will]);
  await first.presenceWhen('42', ({ sequence }) => sequence === 2);
  const earlier = await receipts();
  expect(earlier).toMatchObject([{ packet: 1 }]);

  await mosquitto.stop('SIGKILL');
  await mosquitto.restart();
  expect(await nthLogged(first, 'link.up', 2)).toMatchObject({ hasSession: false });
  await deliverInVain(mosquitto, first);
  await using second = await startWillow(environment);
  expect(await second.logged('link.up')).toMatchObject({ hasSession: true });
  await second.presenceWhen('42', ({ sequence }) => sequence === 4);
  expect(await receipts()).toEqual(earlier);
  await drain(mosquitto.url, second);
  expect(await second.metric('willow_signals_total', { kind: 'will', outcome: 'applied' })).toBe(1);
  expect(await second.metric('willow_signals_total', { kind: 'will', outcome: 'repeat' })).toBe(0);
  expect(await readSoundLog(database.pool)).toHaveLength(4);
});
