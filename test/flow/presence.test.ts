import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startWillow, type Willow } from '../support/willow.ts';

let mosquitto: Mosquitto;
let database: TestDatabase;
let willow: Willow;

beforeAll(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
  willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, GRACE_MS: '300' });
  await willow.logged('link.up');
});

afterAll(async () => {
  await willow[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await mosquitto[Symbol.asyncDispose]();
});

async function connectWithWill(payload: string, options: IClientOptions = {}): Promise<MqttClient> {
  const will = { topic: '/logout', payload: Buffer.from(payload), qos: 1, retain: false } as const;
  return connectAsync(mosquitto.url, { reconnectPeriod: 0, will, ...options });
}

test('a user is online after the birth, lost when the client vanishes, and offline when the grace is over', async () => {
  const identity = JSON.stringify({ userId: 'alice', sessionId: 'phone', epoch: 1, device: { os: 'linux' } });
  const client = await connectWithWill(identity);
  await client.publishAsync('/login', identity, { qos: 1 });
  const online = await willow.presenceWhen('alice', ({ status }) => status === 'online');
  expect(online).toMatchObject({
    userId: 'alice',
    sequence: 2,
    stale: false,
    sessions: [{ sessionId: 'phone', status: 'online', epoch: 1, device: { os: 'linux' } }],
  });
  client.stream.destroy();
  await willow.presenceWhen('alice', ({ sessions }) => sessions[0]?.status === 'lost');
  const offline = await willow.presenceWhen('alice', ({ status }) => status === 'offline');
  expect(offline).toMatchObject({ sequence: 4, sessions: [] });
  const events = await willow.events('alice');
  expect(events.map(({ type, sequence, epoch }) => [type, sequence, epoch])).toEqual([
    ['session.started', 1, 1],
    ['user.online', 2, 1],
    ['session.ended', 3, 1],
    ['user.offline', 4, 1],
  ]);
});
