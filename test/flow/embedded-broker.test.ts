import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { connectAsync, connect as connectNow, type IClientOptions, type MqttClient } from 'mqtt';
import { expect, test } from 'vitest';
import { startEmbeddedBroker } from '../../src/embedded/broker.ts';
import { StartError } from '../../src/runtime/start-error.ts';

async function connect(url: string, options: IClientOptions): Promise<MqttClient & AsyncDisposable> {
  const client = await connectAsync(url, { protocolVersion: 4, reconnectPeriod: 0, ...options });
  client.on('error', () => undefined);
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.endAsync(true) });
}

function nextMessage(client: MqttClient): Promise<readonly [topic: string, payload: string]> {
  return new Promise((resolve) => {
    client.once('message', (topic, payload) => resolve([topic, payload.toString()]));
  });
}

function closeOf(client: MqttClient): Promise<void> {
  return new Promise((resolve) => {
    client.once('close', resolve);
  });
}

test('the will of a client whose socket dies is delivered', async () => {
  await using broker = await startEmbeddedBroker({ port: 0 });
  await using listener = await connect(broker.url, { clientId: 'listener' });
  await listener.subscribeAsync('/logout/#', { qos: 1 });
  const will = nextMessage(listener);
  await using mortal = await connect(broker.url, {
    clientId: 'mortal',
    will: { topic: '/logout', payload: Buffer.from('{42}'), qos: 1, retain: false },
  });
  mortal.stream.destroy();
  expect(await will).toEqual(['/logout', '{42}']);
});

test('a persistent session is kept while its client is away', async () => {
  await using broker = await startEmbeddedBroker({ port: 0 });
  {
    await using willow = await connect(broker.url, { clientId: 'willow', clean: false });
    await willow.subscribeAsync('/logout/#', { qos: 1 });
  }
  await using mortal = await connect(broker.url, { clientId: 'mortal' });
  await mortal.publishAsync('/logout', '42', { qos: 1 });
  // The queue comes right after the CONNACK: whoever listens only then is late.
  const willow = connectNow(broker.url, { clientId: 'willow', clean: false, protocolVersion: 4, reconnectPeriod: 0 });
  expect(await nextMessage(willow)).toEqual(['/logout', '42']);
  await willow.endAsync(true);
});

test('nobody is let in before Willow has subscribed: what is acknowledged is heard', async () => {
  await using broker = await startEmbeddedBroker({ port: 0, subscriber: 'willow' });
  const early = connectNow(broker.url, { clientId: 'early', protocolVersion: 4, reconnectPeriod: 0 });
  let isIn = false;
  const connected = new Promise<void>((resolve) => {
    early.once('connect', () => {
      isIn = true;
      resolve();
    });
  });
  const published = early.publishAsync('/login', '42', { qos: 1 });
  await using willow = await connect(broker.url, { clientId: 'willow', clean: false });
  const heard = nextMessage(willow);
  expect(isIn).toBe(false);
  await willow.subscribeAsync(['/login/#', '/logout/#'], { qos: 1 });
  await connected;
  await published;
  expect(await heard).toEqual(['/login', '42']);
  await early.endAsync(true);
});

test('a port in use is said in one sentence that names the setting', async () => {
  await using broker = await startEmbeddedBroker({ port: 0 });
  const port = Number(new URL(broker.url).port);
  const error: unknown = await startEmbeddedBroker({ port }).catch((refusal: unknown) => refusal);
  expect(error).toBeInstanceOf(StartError);
  expect((error as StartError).message).toMatch(
    new RegExp(`^Port ${port} on 127\\.0\\.0\\.1 is in use: set EMBEDDED_MQTT_PORT`),
  );
});

// Well below the 30 s that aedes itself gives a connection to say something.
test('closing the broker closes every connection at once, those too that never said a word', {
  timeout: 20_000,
}, async () => {
  const broker = await startEmbeddedBroker({ port: 0 });
  await using client = await connect(broker.url, { clientId: 'client' });
  const silent = connectSocket(Number(new URL(broker.url).port), '127.0.0.1');
  silent.on('error', () => undefined);
  await once(silent, 'connect');
  const closed = Promise.all([closeOf(client), once(silent, 'close')]);
  await broker[Symbol.asyncDispose]();
  await closed;
  await expect(
    startEmbeddedBroker({ port: Number(new URL(broker.url).port) }).then((again) => again[Symbol.asyncDispose]()),
  ).resolves.toBe(undefined);
});

test('a client that asks for MQTT 5 is answered with the refusal of MQTT 3.1.1, so that it can fall back', async () => {
  await using broker = await startEmbeddedBroker({ port: 0 });
  const client = connectNow(broker.url, { protocolVersion: 5, reconnectPeriod: 0 });
  const refusals: unknown[] = [];
  client.on('error', (error) => refusals.push(error));
  await closeOf(client);
  await client.endAsync(true);
  expect(refusals).toMatchObject([{ code: 1 }]);
});
