// A broker that is not there yet, or is not the right one: Willow asks again for ever, and says so ever louder.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generate } from 'mqtt-packet';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { linkFailures } from './broker-witness.ts';

const password = 'the-right-one';

let directory: string;
let mosquitto: Mosquitto;
let database: TestDatabase;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'willow-passwords-'));
  await setPassword(password);
  const lines = ['allow_anonymous false', `password_file ${join(directory, 'passwords')}`];
  mosquitto = await startMosquitto({ lines });
  // It may have said that it runs before it minds a SIGTERM.
  await mosquitto.stop('SIGKILL');
  database = await createDatabase();
});

afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await mosquitto[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function setPassword(text: string): Promise<void> {
  await promisify(execFile)('mosquitto_passwd', ['-c', '-b', join(directory, 'passwords'), 'willow', text]);
}

function start(): Promise<Willow> {
  const account = { MQTT_USERNAME: 'willow', MQTT_PASSWORD: password };
  return startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...account });
}

async function expectNotReady(willow: Willow): Promise<void> {
  const checks = { link: { ok: false }, database: { ok: true } };
  expect(await willow.get('/readyz')).toMatchObject({ status: 503, body: { checks } });
  expect(await willow.metric('willow_link_up')).toBe(0);
}

// Every test begins without a broker.
afterEach(async () => {
  await mosquitto.stop('SIGKILL');
});

async function expectReady(willow: Willow): Promise<void> {
  await willow.logged('link.up');
  await until('readiness', async () => (await willow.get('/readyz')).status === 200);
  expect(await willow.metric('willow_link_up')).toBe(1);
  expect(willow.child.lines.join('\n'), 'the log keeps the password to itself').not.toContain(password);
}

test('while nobody is there, attempts go on with longer waits and rising levels, until the broker is there', async () => {
  await using willow = await start();
  const failures = await linkFailures(willow, 5);
  expect(failures.map(({ level }) => level)).toEqual(['info', 'warn', 'warn', 'warn', 'error']);
  const waits = failures.map(({ waitMs }) => Number(waitMs));
  expect(waits, 'every wait is longer than the one before').toEqual(waits.toSorted((a, b) => a - b));
  await expectNotReady(willow);
  await mosquitto.restart();
  await expectReady(willow);
});

const connack = generate({ cmd: 'connack', returnCode: 0, sessionPresent: false });
const impostors = [
  { what: 'hangs up at once', answer: Buffer.alloc(0) },
  { what: 'hangs up after a CONNACK', answer: connack },
  { what: 'speaks another protocol', answer: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') },
];

test.each(impostors)('somebody who $what does not stop Willow from finding the broker later', async ({ answer }) => {
  let visits = 0;
  const impostor = createServer((socket) => {
    visits += 1;
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(answer));
    if (answer.length === 0) socket.end();
  }).listen(mosquitto.port, '127.0.0.1');
  await once(impostor, 'listening');
  await using willow = await start();
  await linkFailures(willow, 2);
  expect(visits, 'the impostor was met').toBeGreaterThanOrEqual(2);
  await expectNotReady(willow);
  impostor.close();
  await once(impostor, 'close');
  await mosquitto.restart();
  await expectReady(willow);
});

test('a broker that refuses the password is asked again, and the right password is enough', async () => {
  await setPassword('another-one');
  await mosquitto.restart();
  await using willow = await start();
  const failures = await linkFailures(willow, 2);
  expect(JSON.stringify(failures)).toContain('Not authorized');
  await expectNotReady(willow);
  await setPassword(password);
  mosquitto.child.kill('SIGHUP');
  await expectReady(willow);
});
