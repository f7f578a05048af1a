import { connect, type IClientOptions } from 'mqtt';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { openVoice } from '../support/voice.ts';
import { startWillow } from '../support/willow.ts';

const backlog = 6_000;
const window = 1_000;
const acknowledged = 700;

/** As Willow connects, so that the broker queues for it. */
const asWillow: IClientOptions = {
  clientId: 'willow',
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: 3_600, receiveMaximum: window },
  reconnectPeriod: 0,
};

/** Listens in Willow's place, acknowledges some messages, and is gone without a word while the broker sends the rest. */
async function dieInTheMiddle(url: string): Promise<void> {
  const client = connect(url, asWillow);
  let received = 0;
  client.handleMessage = (_packet, callback) => {
    received += 1;
    callback(received <= acknowledged ? undefined : new Error('not acknowledged'));
  };
  await until('the broker to make up for what was acknowledged', () => received >= window + acknowledged);
  client.stream.destroy();
  await client.endAsync(true);
}

test('a backlog is settled however much of it the broker sends at once, before it even answers the subscription', async () => {
  await using mosquitto = await startMosquitto({ inflightMax: window });
  await using database = await createDatabase();
  {
    await using session = await openVoice(mosquitto.url, asWillow);
    await session.client.subscribeAsync(['/login/#', '/logout/#'], { qos: 1 });
    await session.client.endAsync();
  }
  await using voice = await openVoice(mosquitto.url);
  await Promise.all(Array.from({ length: backlog }, (_, index) => voice.say(`/login/user-${index}`, { epoch: 1 })));
  // Mosquitto 2.0 keeps to no window any more for a session that was resumed and cut: it sends all of the rest.
  await dieInTheMiddle(mosquitto.url);

  await using _willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url });
  const countUsers = async () => {
    const { rows } = await database.pool.query<{ count: number }>('select count(*)::int as count from users');
    return rows[0]?.count ?? 0;
  };
  await until('all users online', async () => (await countUsers()) >= backlog - acknowledged, 30_000);
  expect(await countUsers()).toBe(backlog - acknowledged);
});
