// Every way to the broker: by TCP and by WebSocket, plain and by TLS, with a password and with a certificate. What Willow promises of one
// holds for all of them.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Authority, createAuthority, type Issued } from '../support/certificates.ts';
import { createDatabase } from '../support/database.ts';
import { type SecureMosquitto, startSecureMosquitto, type Way } from '../support/secure-mosquitto.ts';
import { announcedWhen, countedWhen, settled, startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice, withWill } from '../support/voice.ts';

const users = { willow: 'the password of willow', device: 'the password of device' };
const device = { username: 'device', password: users.device };
const ways: readonly Way[] = ['mqtt', 'mqtts', 'ws', 'wss'];

const resources = new AsyncDisposableStack();
let authority: Authority;
let own: Issued;
let mosquitto: SecureMosquitto;
let environment: Readonly<Record<string, string>>;

beforeAll(async () => {
  authority = resources.use(await createAuthority());
  const server = await authority.issue('a broker', { altNames: ['DNS:broker.example'] });
  own = await authority.issue('willow');
  mosquitto = resources.use(await startSecureMosquitto({ authority, server, users, clientCaFile: authority.caFile }));
  const [nameFile, passwordFile] = ['name', 'password'].map((name) => join(authority.directory, name));
  await writeFile(nameFile ?? '', 'willow\n');
  await writeFile(passwordFile ?? '', `${users.willow}\n`);
  environment = { GRACE_MS: '0', MQTT_USERNAME_FILE: nameFile ?? '', MQTT_PASSWORD_FILE: passwordFile ?? '' };
});

afterAll(() => resources.disposeAsync());

/** What TLS needs, where the way has it; the broker is reached by an address that is not in its certificate. */
function settingsFor(way: Way): Record<string, string> {
  const tls = {
    MQTT_CA_FILE: authority.caFile,
    MQTT_CERT_FILE: own.certFile,
    MQTT_KEY_FILE: own.keyFile,
    MQTT_SERVER_NAME: 'broker.example',
  };
  return { ...environment, MQTT_CLIENT_ID: `willow-${way}`, ...(way === 'mqtts' || way === 'wss' ? tls : {}) };
}

describe.each(ways)('over %s', (way) => {
  test('the will of a client that was killed is heard, once', async () => {
    await using database = await createDatabase();
    await using willow = await startListening({ url: mosquitto.urls[way] }, database, settingsFor(way));
    const userId = `killed-${way}`;
    const identity = { userId, sessionId: 'phone', epoch: 1 };
    const client = await openVoice(mosquitto.url, { ...device, ...withWill('/logout', identity) });
    await client.say('/login', identity);
    await willow.presenceWhen(userId, ({ status }) => status === 'online');
    client.vanish();
    const told = await announcedWhen(willow, userId, 4);
    expect(told.slice(2)).toEqual(['session.ended phone 1 will', 'user.offline phone 1 will']);
    expect(willow.child.lines.join('\n')).not.toMatch(/the password of/u);
  });

  test('messages are acknowledged, in full batches and to the last one: nothing comes again after a restart', async () => {
    await using database = await createDatabase();
    await using voice = await openVoice(mosquitto.url, device);
    const messages = 3_000;
    // A session of its own at the broker: what an earlier Willow had not acknowledged when it ended is not told again here.
    const settings = { ...settingsFor(way), MQTT_CLIENT_ID: `acknowledging-${way}` };
    {
      await using willow = await startListening({ url: mosquitto.urls[way] }, database, settings);
      await Promise.all(
        Array.from({ length: messages }, (_, index) =>
          voice.say('/login', { userId: `${way}-${index % 100}`, epoch: index }),
        ),
      );
      await settled(willow, voice);
      expect(await countedWhen(willow, 'willow_messages_total', {}, messages + 1)).toBe(messages + 1);
      expect(willow.log().filter(({ event }) => event === 'link.down')).toEqual([]);
      expect(await willow.child.end('SIGTERM')).toBe(0);
    }
    await using willow = await startListening({ url: mosquitto.urls[way] }, database, settings);
    expect(await willow.logged('link.up')).toMatchObject({ hasSession: true, protocolVersion: 5 });
    await settled(willow, voice);
    expect(await willow.metric('willow_messages_total')).toBe(1);
  });

  test('what is said while Willow is away waits for it', async () => {
    await using database = await createDatabase();
    const userId = `waits-${way}`;
    {
      await using willow = await startListening({ url: mosquitto.urls[way] }, database, settingsFor(way));
      await willow.child.end('SIGKILL');
    }
    await using voice = await openVoice(mosquitto.url, device);
    await voice.say('/logout', userId);
    await using willow = await startListening({ url: mosquitto.urls[way] }, database, settingsFor(way));
    expect(await announcedWhen(willow, userId, 2)).toHaveLength(2);
  });

  test('a broker that falls silent is noticed, and is no obstacle to the end; when it is back, so is the link', async () => {
    await using database = await createDatabase();
    await using willow = await startListening({ url: mosquitto.urls[way] }, database, settingsFor(way));
    const userId = `silence-${way}`;
    mosquitto.child.kill('SIGSTOP');
    try {
      await willow.logged('link.down');
      expect((await willow.get('/readyz')).status).toBe(503);
    } finally {
      mosquitto.child.kill('SIGCONT');
    }
    await using voice = await openVoice(mosquitto.url, device);
    await voice.say('/logout', userId);
    expect(await announcedWhen(willow, userId, 2)).toHaveLength(2);
    await until('ready again', async () => (await willow.get('/readyz')).status === 200);
    mosquitto.child.kill('SIGSTOP');
    const askedAtMs = performance.now();
    try {
      expect(await willow.child.end('SIGTERM')).toBe(0);
    } finally {
      mosquitto.child.kill('SIGCONT');
    }
    expect(performance.now() - askedAtMs).toBeLessThan(10_000);
  });
});
