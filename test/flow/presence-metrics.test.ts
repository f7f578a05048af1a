import { expect, test } from 'vitest';
import { call } from '../support/http.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startPostgres } from '../support/postgres.ts';
import { startListening } from '../support/stage.ts';
import { openVoice } from '../support/voice.ts';

test('whoever scrapes is told how many are online; a database that is away costs the scrape these numbers only', async () => {
  await using mosquitto = await startMosquitto();
  await using voice = await openVoice(mosquitto.url);
  const gone = await startPostgres();
  try {
    await using willow = await startListening(mosquitto, gone, { MQTT_CLIENT_ID: 'counter', GRACE_MS: '600000' });
    for (const sessionId of ['phone', 'tablet']) await voice.say('/login', { userId: 'ann', sessionId, epoch: 1 });
    await voice.say('/login', { userId: 'bob', sessionId: 'phone', epoch: 1 });
    await voice.say('/logout', { userId: 'bob', sessionId: 'phone', epoch: 1 });
    await willow.presenceWhen('bob', ({ sessions }) => sessions[0]?.status === 'lost');
    const { body } = await call(`${willow.http}/presence/counts`);
    expect(body).toMatchObject({ online: 2, lost: 1, sessions: 3, users: 2, stale: false });
    expect(await willow.metric('willow_users_online')).toBe(2);
    expect(await willow.metric('willow_sessions', { state: 'online' })).toBe(2);
    expect(await willow.metric('willow_sessions', { state: 'lost' })).toBe(1);
    await gone[Symbol.asyncDispose]();
    const text = await (await fetch(`${willow.http}/metrics`)).text();
    expect(text).toContain('willow_link_up');
    expect(text).not.toMatch(/^willow_users_online /mu);
    expect(text).not.toMatch(/^willow_sessions\{/mu);
  } finally {
    await gone[Symbol.asyncDispose]();
  }
});
