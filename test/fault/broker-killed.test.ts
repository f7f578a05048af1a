// A broker that is killed publishes no will: what Willow says of those who were connected is marked as stale, and a lease ends it.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { joinAll, openBareClient } from './broker-crowd.ts';
import { drain, expectMetricsToAddUp, nthLogged, readSoundLog } from './broker-witness.ts';

const clients = 20;
const userIds = Array.from({ length: clients }, (_, index) => `user-${index}`);
const returning = userIds.slice(0, clients / 2);
const away = userIds.slice(clients / 2);
const environment = { GRACE_MS: '1000', LEASE_MS: '6000' };

/** Mosquitto writes its store when it ends, or at every change when it is told to: so our session is lost, or kept. */
const cases = [
  { what: 'has lost our session', hasSession: false, lines: [] },
  { what: 'has kept our session', hasSession: true, lines: ['autosave_interval 1', 'autosave_on_changes true'] },
];

test.each(cases)(
  'after a SIGKILL of a broker that $what, who comes back is fresh, and a lease ends who does not',
  async ({ hasSession, lines }) => {
    await using mosquitto = await startMosquitto({ lines });
    await using database = await createDatabase();
    await using willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...environment });
    await willow.logged('link.up');
    await joinAll(
      mosquitto.port,
      userIds.map((userId) => ({ userId, sessionId: 'phone', epoch: 1 })),
    );
    await drain(mosquitto.url, willow);
    expect(await staleUsers(willow)).toEqual([]);

    await mosquitto.stop('SIGKILL');
    await willow.logged('link.down');
    await until('everybody to be stale', async () => (await staleUsers(willow)).length === clients);
    await mosquitto.restart();
    expect(await nthLogged(willow, 'link.up', 2)).toMatchObject({ hasSession });
    await until('the link to be known as up', async () => !(await willow.presence('nobody')).stale || !hasSession);
    expect(await staleUsers(willow)).toEqual(hasSession ? [] : userIds);

    await joinAll(
      mosquitto.port,
      returning.map((userId) => ({ userId, sessionId: 'phone', epoch: 2 })),
    );
    await drain(mosquitto.url, willow);
    expect(await staleUsers(willow)).toEqual(hasSession ? [] : away);

    using client = await openBareClient(mosquitto.port, { clientId: 'signs-of-life', clean: true });
    await until('the leases of those who stayed away to end', async () => {
      for (const userId of returning) {
        await client.publish('/login', JSON.stringify({ userId, sessionId: 'phone', epoch: 2 }));
      }
      return (await willow.metric('willow_events_total', { type: 'session.ended' })) >= away.length;
    });
    await drain(mosquitto.url, willow);
    const log = await readSoundLog(database.pool);
    const ends = log.filter(({ type }) => type === 'session.ended');
    expect(new Set(ends.map(({ userId }) => userId))).toEqual(new Set(away));
    expect(new Set(ends.map(({ reason }) => reason))).toEqual(new Set(['expired']));
    for (const userId of returning) {
      expect(await willow.presence(userId)).toMatchObject({ status: 'online', sequence: 2, sessions: [{ epoch: 2 }] });
    }
    await expectMetricsToAddUp(willow);
  },
);

async function staleUsers(willow: Willow): Promise<readonly string[]> {
  const all = await Promise.all(userIds.map((userId) => willow.presence(userId)));
  return all.filter(({ stale }) => stale).map(({ userId }) => userId);
}
