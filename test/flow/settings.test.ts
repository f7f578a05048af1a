import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { createHome } from '../support/embedded.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startChild } from '../support/process.ts';
import { announced, announcedWhen, countedWhen, openStage, startListening } from '../support/stage.ts';
import { openVoice, withWill } from '../support/voice.ts';
import { startWillow } from '../support/willow.ts';

test('renamed roots are heard, in all of their forms, and the old ones are not', async () => {
  await using stage = await openStage({ GRACE_MS: '0', LOGIN_TOPIC: 'app/v1/births', LOGOUT_TOPIC: 'app/v1/gone' });
  const { willow, voice, mosquitto } = stage;
  const device = await openVoice(mosquitto.url, withWill('app/v1/gone/ann/phone', ''));
  await voice.say('/login', 'nobody');
  await voice.say('/logout', 'nobody');
  await voice.say('app/v1/birthsday', 'nobody');
  await device.say('app/v1/births/ann/phone');
  await willow.presenceWhen('ann', ({ status }) => status === 'online');
  device.vanish();
  expect(await announcedWhen(willow, 'ann', 4)).toEqual([
    'session.started phone 1',
    'user.online phone 1',
    'session.ended phone 1 will',
    'user.offline phone 1 will',
  ]);
  await voice.say('app/v1/gone', '{bob}');
  expect(await announcedWhen(willow, 'bob', 2)).toHaveLength(2);
  expect(await announced(willow, 'nobody')).toEqual([]);
  expect(await countedWhen(willow, 'willow_messages_total', {}, 3)).toBe(3);
});

test('clients that already send something else are understood by JSON pointers', async () => {
  await using stage = await openStage({
    GRACE_MS: '0',
    PAYLOAD_USER_ID: '/account/id',
    PAYLOAD_SESSION_ID: '/device~1serial',
    PAYLOAD_EPOCH: '/meta/0/connectedAt',
  });
  const { willow, voice, mosquitto } = stage;
  const identity = { account: { id: 77 }, 'device/serial': 'SN-1', meta: [{ connectedAt: 1_700_000_000_000 }] };
  const device = await openVoice(mosquitto.url, withWill('/logout', identity));
  await device.say('/login', identity);
  await willow.presenceWhen('77', ({ status }) => status === 'online');
  device.vanish();
  expect(await announcedWhen(willow, '77', 4)).toEqual([
    'session.started SN-1 1700000000000',
    'user.online SN-1 1700000000000',
    'session.ended SN-1 1700000000000 will',
    'user.offline SN-1 1700000000000 will',
  ]);
  // What the pointers do not lead to is an unknown field like any other.
  await voice.say('/logout', { userId: 'ann' });
  await voice.say('/login', { account: { id: 'behind' } });
  await willow.presenceWhen('behind', ({ status }) => status === 'online');
  expect(await announced(willow, 'ann')).toEqual([]);
  expect(await countedWhen(willow, 'willow_quarantined_total', { reason: 'no-user-id' }, 1)).toBe(1);
});

test('a broker that wants a user name and a password gets them, the password from a file', async () => {
  await using home = await createHome();
  const passwords = join(home.path, 'passwords');
  const secret = join(home.path, 'secret');
  for (const [index, user] of ['willow', 'device'].entries()) {
    const create = index === 0 ? ['-c'] : [];
    const child = await startChild('mosquitto_passwd', ['-b', ...create, passwords, user, `${user}-secret`]);
    expect(await child.exited).toBe(0);
  }
  await writeFile(secret, 'willow-secret\n');
  await using mosquitto = await startMosquitto({ lines: ['allow_anonymous false', `password_file ${passwords}`] });
  await using database = await createDatabase();
  await expect(openVoice(mosquitto.url)).rejects.toThrow(/not authorized/i);

  const credentials = { MQTT_USERNAME: 'willow', MQTT_PASSWORD_FILE: secret };
  await using willow = await startListening(mosquitto, database, { GRACE_MS: '0', ...credentials });
  await using voice = await openVoice(mosquitto.url, { username: 'device', password: 'device-secret' });
  await voice.say('/logout', '42');
  expect(await announcedWhen(willow, '42', 2)).toHaveLength(2);
  expect(willow.child.lines.join('\n')).not.toContain('willow-secret');
});

test('a broker that refuses the password is tried again, is said to be away, and keeps nobody from reading', async () => {
  await using home = await createHome();
  const passwords = join(home.path, 'passwords');
  await writeFile(passwords, '');
  await using mosquitto = await startMosquitto({ lines: ['allow_anonymous false', `password_file ${passwords}`] });
  await using database = await createDatabase();
  await using willow = await startWillow({
    MQTT_URL: mosquitto.url,
    DATABASE_URL: database.url,
    MQTT_USERNAME: 'willow',
    MQTT_PASSWORD: 'not-the-secret',
  });
  const failed = await willow.logged('loop.failed');
  expect(JSON.stringify(failed)).toMatch(/not authorized|bad user name|refused/i);
  expect((await willow.presence('ann')).stale).toBe(true);
  expect((await willow.get('/readyz')).status).toBe(503);
  expect(willow.child.lines.join('\n')).not.toContain('not-the-secret');
});
