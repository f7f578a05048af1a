import { expect, test } from 'vitest';
import { startEmbeddedBroker } from '../../src/embedded/broker.ts';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { announced, announcedWhen, countedWhen, settled, startListening } from '../support/stage.ts';
import { openVoice, type Voice } from '../support/voice.ts';

const environment = { GRACE_MS: '0' };
const isRetained = { kind: 'retained', outcome: 'retained' };

async function retain(voice: Voice, topic: string, payload: string): Promise<void> {
  await voice.client.publishAsync(topic, payload, { qos: 1, retain: true });
}

test('retained messages of an MQTT 3.1.1 broker are counted and never applied, at every start anew', async () => {
  await using broker = await startEmbeddedBroker({ port: 0 });
  await using database = await createDatabase();
  await using voice = await openVoice(broker.url, { protocolVersion: 4 });
  await retain(voice, '/logout', '{old-will}');
  await retain(voice, '/login', 'old-birth');
  await retain(voice, '/logout/garbage', '{');
  for (let start = 1; start <= 2; start += 1) {
    await using willow = await startListening(broker, database, environment);
    expect(await countedWhen(willow, 'willow_signals_total', isRetained, 3)).toBe(3);
    await settled(willow, voice);
    for (const userId of ['old-will', 'old-birth', 'garbage']) expect(await announced(willow, userId)).toEqual([]);
    expect(await willow.metric('willow_quarantined_total')).toBe(0);
    await willow.child.end('SIGTERM');
  }
});

test('a message that is retained while Willow listens is news when it is said, and never again', async () => {
  await using broker = await startEmbeddedBroker({ port: 0 });
  await using database = await createDatabase();
  await using voice = await openVoice(broker.url, { protocolVersion: 4 });
  const ended = ['session.ended default - will', 'user.offline default - will'];
  {
    await using willow = await startListening(broker, database, { ...environment, REPEAT_WINDOW_MS: '0' });
    await retain(voice, '/logout', '{ann}');
    expect(await announcedWhen(willow, 'ann', 2)).toEqual(ended);
    await willow.child.end('SIGTERM');
  }
  await using willow = await startListening(broker, database, { ...environment, REPEAT_WINDOW_MS: '0' });
  await countedWhen(willow, 'willow_signals_total', isRetained, 1);
  await settled(willow, voice);
  expect(await announced(willow, 'ann')).toEqual(ended);
});

test('an MQTT 5 broker is told to keep what it retains; a retained will is heard once', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using voice = await openVoice(mosquitto.url);
  await retain(voice, '/logout', '{old}');
  const will = { topic: '/logout', payload: Buffer.from('{mortal}'), qos: 1, retain: true } as const;
  const ended = ['session.ended default - will', 'user.offline default - will'];
  for (let start = 1; start <= 2; start += 1) {
    await using willow = await startListening(mosquitto, database, { ...environment, REPEAT_WINDOW_MS: '0' });
    if (start === 1) {
      await using mortal = await openVoice(mosquitto.url, { will });
      mortal.vanish();
      await announcedWhen(willow, 'mortal', 2);
    }
    await settled(willow, voice);
    expect(await announced(willow, 'mortal')).toEqual(ended);
    expect(await announced(willow, 'old')).toEqual([]);
    expect(await willow.metric('willow_signals_total', isRetained)).toBe(0);
    await willow.child.end('SIGTERM');
  }
});
