// The clients of docs/clients.md do what the page says they do: they are taken from it, and run against a real broker.

import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { documented } from '../support/documented.ts';
import { prepare } from '../support/prepared.ts';
import { type Child, startChild } from '../support/process.ts';
import { announced, announcedWhen, openStage, type Stage } from '../support/stage.ts';
import type { Willow } from '../support/willow.ts';

let stage: Stage;
/** On the same broker, with a grace that nobody waits for. */
let patient: Willow;
let directory: string;
/** As an app's own: who asks stands in its address. */
let backend: Server;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '500' });
  patient = await stage.open({ GRACE_MS: '86400000' });
  directory = await mkdtemp(join(tmpdir(), 'willow-documented-'));
  await symlink(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(directory, 'node_modules'));
  await writeFile(join(directory, 'presence.mjs'), documented('docs/clients.md', 'js'));
  await writeFile(join(directory, 'presence.py'), documented('docs/clients.md', 'python'));
  await writeFile(join(directory, 'prepared.mjs'), documented('docs/clients.md', 'js prepared'));
  await writeFile(join(directory, 'prepared.py'), documented('docs/clients.md', 'python prepared'));
  backend = createServer((request, response) => {
    void prepare(stage.willow, request.url?.slice(1) ?? '', { sessionId: 'phone' }).then((prepared) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify(prepared)),
    );
  }).listen(0, '127.0.0.1');
  await once(backend, 'listening');
});

afterAll(async () => {
  backend.close();
  await stage[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const backendOf = (userId: string) => `http://127.0.0.1:${(backend.address() as AddressInfo).port}/${userId}`;

const clients = {
  'MQTT.js': (userId: string) =>
    startChild(process.execPath, [join(directory, 'presence.mjs'), stage.mosquitto.url, userId, 'phone']),
  'Paho Python': (userId: string) => {
    const address = ['127.0.0.1', String(stage.mosquitto.port)];
    return startChild('/usr/bin/python3', [join(directory, 'presence.py'), ...address, userId, 'phone']);
  },
  'prepared MQTT.js': (userId: string) =>
    startChild(process.execPath, [join(directory, 'prepared.mjs'), stage.mosquitto.url, backendOf(userId)]),
  'prepared Paho Python': (userId: string) => {
    const address = ['127.0.0.1', String(stage.mosquitto.port)];
    return startChild('/usr/bin/python3', [join(directory, 'prepared.py'), ...address, backendOf(userId)]);
  },
} satisfies Record<string, (userId: string) => Promise<Child>>;

describe.each(Object.entries(clients))('the %s client of the documents', (name, start) => {
  const userOf = (what: string) => `${name}-${what}`.toLowerCase().replaceAll(/[^a-z]+/g, '-');
  const epochWhenOnline = async (userId: string, after = 0, willow = patient) => {
    const { sessions } = await willow.presenceWhen(userId, ({ sessions: [session] }) => {
      return session?.status === 'online' && (session.epoch ?? 0) > after;
    });
    return sessions[0]?.epoch ?? 0;
  };

  test('is online with its birth, lost when it is killed, offline when the grace is over', async () => {
    const userId = userOf('crash');
    await using client = await start(userId);
    const epoch = await epochWhenOnline(userId);
    client.kill('SIGKILL');
    await stage.willow.presenceWhen(
      userId,
      ({ status, sessions }) => status === 'online' && sessions[0]?.status === 'lost',
    );
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'offline');
    expect(await announcedWhen(stage.willow, userId, 4)).toEqual([
      `session.started phone ${epoch}`,
      `user.online phone ${epoch}`,
      `session.ended phone ${epoch} will`,
      `user.offline phone ${epoch} will`,
    ]);
  });

  test('is offline at once when it says goodbye, and its will is not heard', async () => {
    const userId = userOf('goodbye');
    await using client = await start(userId);
    const epoch = await epochWhenOnline(userId);
    expect(await client.end('SIGTERM')).toBe(0);
    expect((await announcedWhen(stage.willow, userId, 4)).slice(2)).toEqual([
      `session.ended phone ${epoch} logout`,
      `user.offline phone ${epoch} logout`,
    ]);
  });

  test('comes back by itself with a larger epoch when it loses its connection, and a will to match; nobody is told', async () => {
    const userId = userOf('reconnect');
    await using client = await start(userId);
    const epoch = await epochWhenOnline(userId);
    // The broker closes its connection for another one with the same client id, which leaves at once.
    const thief = await connectAsync(stage.mosquitto.url, { clientId: `${userId}-phone`, reconnectPeriod: 0 });
    await thief.endAsync();
    await epochWhenOnline(userId, epoch);
    expect(await announced(patient, userId)).toEqual([`session.started phone ${epoch}`, `user.online phone ${epoch}`]);
    // The will of the new connection is its own, too.
    client.kill('SIGKILL');
    await patient.presenceWhen(userId, ({ sessions }) => sessions[0]?.status === 'lost');
  });

  test('is let in again after a crash, with a larger epoch', async () => {
    const userId = userOf('restart');
    await using first = await start(userId);
    const epoch = await epochWhenOnline(userId, 0, stage.willow);
    await first.end('SIGKILL');
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'offline');
    await using _second = await start(userId);
    await epochWhenOnline(userId, epoch, stage.willow);
  });
});
