// The Mosquitto of docs/broker.md is one that Willow works with, and keeps a client from logging out anybody but itself.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { documented } from '../support/documented.ts';
import { findFreePort } from '../support/free-port.ts';
import { startChild } from '../support/process.ts';
import { startListening } from '../support/stage.ts';
import type { Willow } from '../support/willow.ts';

const resources = new AsyncDisposableStack();
let url: string;
let willow: Willow;

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'willow-documented-broker-'));
  resources.defer(() => rm(directory, { recursive: true }));
  const port = await findFreePort();
  url = `mqtt://127.0.0.1:${port}`;
  const passwords = join(directory, 'passwords');
  for (const [index, user] of ['willow', 'alice', 'mallory'].entries()) {
    const create = index === 0 ? ['-c'] : [];
    const tool = await startChild('mosquitto_passwd', ['-b', ...create, passwords, user, `password of ${user}`]);
    expect(await tool.exited).toBe(0);
  }
  await writeFile(join(directory, 'acl'), documented('docs/broker.md', 'acl'));
  const config = documented('docs/broker.md', 'conf')
    .replace('listener 1883', `listener ${port} 127.0.0.1`)
    .replaceAll(/\/(?:etc|var\/lib)\/mosquitto\//g, `${directory}/`);
  // Root may run it; it must not change to a user that cannot enter the directory.
  await writeFile(join(directory, 'mosquitto.conf'), `${config}\nuser root\n`);
  const mosquitto = resources.use(await startChild('mosquitto', ['-c', join(directory, 'mosquitto.conf')]));
  await mosquitto.line((line) => line.endsWith(' running'), 'running');
  const database = resources.use(await createDatabase());
  const credentials = { MQTT_USERNAME: 'willow', MQTT_PASSWORD: 'password of willow' };
  willow = resources.use(await startListening({ url }, database, { ...credentials, GRACE_MS: '0' }));
});

afterAll(() => resources.disposeAsync());

async function connectAs(username: string, will?: string): Promise<MqttClient> {
  const willOptions = { topic: will ?? '', payload: Buffer.from('{"epoch":1}'), qos: 1, retain: false } as const;
  return connectAsync(url, {
    username,
    password: `password of ${username}`,
    reconnectPeriod: 0,
    ...(will === undefined ? {} : { will: willOptions }),
  });
}

async function comeOnline(client: MqttClient, userId: string): Promise<void> {
  await client.publishAsync(`/login/${userId}`, '{"epoch":1}', { qos: 1 });
  await willow.presenceWhen(userId, ({ status }) => status === 'online');
}

/** The broker has judged it when it answers, or closes the connection. */
async function attempt(client: MqttClient, topic: string): Promise<void> {
  const judged = new Promise<void>((resolve) => {
    client.once('close', () => resolve());
    client.once('packetreceive', () => resolve());
  });
  client.publish(topic, '{"userId":"bob","epoch":1}', { qos: 1 }, () => undefined);
  await judged;
  client.end(true);
}

test('a client signs in, and off, as the user that it is', async () => {
  const alice = await connectAs('alice', '/logout/alice');
  await comeOnline(alice, 'alice');
  alice.stream.destroy();
  await willow.presenceWhen('alice', ({ status }) => status === 'offline');
});

test('nobody signs in or logs out another: not by a message, not by a will', async () => {
  for (const topic of ['/login', '/login/bob', '/logout', '/logout/bob', '/logout/bob/phone']) {
    await attempt(await connectAs('mallory'), topic);
  }
  const intruder = await connectAs('mallory', '/logout/bob');
  intruder.stream.destroy();
  // A will that is let through, of a connection that ends later: when it is heard, the others have been judged.
  const mallory = await connectAs('mallory', '/logout/mallory');
  await comeOnline(mallory, 'mallory');
  mallory.stream.destroy();
  await willow.presenceWhen('mallory', ({ sequence }) => sequence === 4);
  expect(await willow.presence('bob')).toMatchObject({ status: 'offline', sequence: 0, lastSeenAt: null });
});
