// A backend prepares a login, and its client is heard as that user and session, and as nobody else.

import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call } from '../support/http.ts';
import { startMortal } from '../support/mortal.ts';
import { ask, prepare, withEpoch } from '../support/prepared.ts';
import { announced, announcedWhen, openStage, type Stage } from '../support/stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '500', REQUIRE_TICKETS: 'true' });
});

afterAll(() => stage[Symbol.asyncDispose]());

const dayMs = 86_400_000;

describe('what a backend is given', () => {
  test('a random session, two messages that carry the same ticket, and until when births are heard', async () => {
    const before = Date.now();
    const { status, headers, body } = await ask(stage.willow, 'alice@example.com');
    expect(status).toBe(201);
    expect(headers.get('cache-control')).toBe('no-store');
    const { sessionId, expiresAt, will, birth } = body;
    expect(sessionId).toMatch(/^[\w-]{22}$/u);
    const { ticket } = will.payload;
    const payload = { userId: 'alice@example.com', sessionId, ticket };
    const delivery = { qos: 1, retain: false };
    expect(body).toEqual({
      sessionId,
      expiresAt,
      will: { topic: '/logout/alice@example.com', payload, ...delivery },
      birth: { topic: '/login/alice@example.com', payload, ...delivery },
    });
    const { kid, ...header } = decodeProtectedHeader(ticket);
    expect(header).toEqual({ alg: 'HS256' });
    expect(kid).toMatch(/^[\w-]{12}$/u);
    const claims = decodeJwt(ticket);
    expect(claims).toEqual({
      sub: 'alice@example.com',
      sid: sessionId,
      iat: claims.iat,
      exp: (claims.iat ?? 0) + 30 * 86_400,
    });
    expect(Date.parse(expiresAt)).toBe((claims.exp ?? 0) * 1_000);
    expect(Math.abs(Date.parse(expiresAt) - before - 30 * dayMs)).toBeLessThan(60_000);
    expect(birth.payload.ticket).toBe(ticket);
    expect((await ask(stage.willow, 'alice@example.com')).body.sessionId).not.toBe(sessionId);
  });

  test('the session, the device and the lease that it asked for', async () => {
    const device = { os: 'ios', label: 'Ada’s "phone"' };
    const { sessionId, will, birth } = await prepare(stage.willow, 'ada', {
      sessionId: 'phone',
      device,
      leaseMs: 60_000,
    });
    expect(sessionId).toBe('phone');
    expect(will.payload).toEqual({ userId: 'ada', sessionId: 'phone', ticket: will.payload.ticket });
    expect(birth.payload).toEqual({ ...will.payload, device });
    expect(decodeJwt(will.payload.ticket)).toMatchObject({ sub: 'ada', sid: 'phone', leaseMs: 60_000 });
  });

  test.each<[string, object, string]>([
    ['an empty session', { sessionId: '' }, 'sessionId'],
    ['a session that is a number', { sessionId: 7 }, 'sessionId'],
    ['a lease below 0', { leaseMs: -1 }, 'leaseMs'],
    ['a lease with a fraction', { leaseMs: 1.5 }, 'leaseMs'],
    ['a lease of 32 days', { leaseMs: 32 * dayMs }, 'leaseMs'],
    ['a lease that is a text', { leaseMs: '60000' }, 'leaseMs'],
    ['live that is a text', { live: 'true' }, 'live'],
    ['a device that is a text', { device: 'phone' }, 'device'],
    ['a device of more than 1 KiB', { device: { label: 'x'.repeat(1_024) } }, 'device'],
    ['a control character in a device', { device: { label: '\u0000' } }, 'device'],
    ['an epoch, which is the client’s', { epoch: 5 }, 'epoch'],
  ])('is told what is wrong with its body: %s', async (_name, body, name) => {
    const answer = await ask(stage.willow, 'bad', { body });
    expect(answer).toMatchObject({
      status: 422,
      body: { type: 'urn:willow:problem:bad-body', errors: [{ in: 'body', name }] },
    });
  });

  test('ids that no message could carry are refused with a sentence', async () => {
    const answer = await ask(stage.willow, '🦉'.repeat(256), { body: { sessionId: '🦉'.repeat(256) } });
    expect(answer).toMatchObject({ status: 422, body: { type: 'urn:willow:problem:session-unheard' } });
    expect(answer.body.detail).toMatch(/could have \d+ bytes, and may have 4096/u);
    expect((await ask(stage.willow, 'x'.repeat(256), { body: { sessionId: '"'.repeat(256) } })).status).toBe(201);
  });
});

describe('its client, on a real broker', () => {
  test('is online with its birth; killed, it is lost, and over when the grace is', async () => {
    const { willow, mosquitto } = stage;
    const { will, birth } = await prepare(willow, 'mortal', { sessionId: 'phone', device: { os: 'ios' } });
    const epoch = Date.now();
    await using client = await startMortal('MQTT.js', {
      port: mosquitto.port,
      version: 5,
      clientId: 'mortal',
      will: { topic: will.topic, payload: withEpoch(will, epoch) },
      birth: { topic: birth.topic, payload: withEpoch(birth, epoch) },
    });
    const { sessions } = await willow.presenceWhen('mortal', ({ status }) => status === 'online');
    expect(sessions).toMatchObject([{ sessionId: 'phone', epoch, device: { os: 'ios' } }]);
    await client.die();
    expect(await announcedWhen(willow, 'mortal', 4)).toEqual([
      `session.started phone ${epoch}`,
      `user.online phone ${epoch}`,
      `session.ended phone ${epoch} will`,
      `user.offline phone ${epoch} will`,
    ]);
  });

  test('says goodbye', async () => {
    const { willow, voice } = stage;
    const { will, birth } = await prepare(willow, 'polite', { sessionId: 'phone' });
    await voice.say(birth.topic, withEpoch(birth, 1));
    await voice.say(will.topic, withEpoch(will, 1, { reason: 'logout' }));
    expect((await announcedWhen(willow, 'polite', 4)).at(-1)).toBe('user.offline phone 1 logout');
  });

  test('with a lease of its own, is over when it says nothing for so long', async () => {
    const { willow, voice } = stage;
    const { birth } = await prepare(willow, 'silent', { sessionId: 'phone', leaseMs: 700 });
    await voice.say(birth.topic, withEpoch(birth, 1));
    expect((await announcedWhen(willow, 'silent', 4)).at(-1)).toBe('user.offline phone 1 expired');
  });
});

describe('live: true', () => {
  test('the session is there before the answer is', async () => {
    const { willow } = stage;
    await prepare(willow, 'early', { sessionId: 'phone', live: true, device: { os: 'ios' } });
    expect(await willow.presence('early')).toMatchObject({
      status: 'online',
      sessions: [{ sessionId: 'phone', status: 'online', epoch: null, device: { os: 'ios' } }],
    });
    expect(await announced(willow, 'early')).toEqual(['session.started phone -', 'user.online phone -']);
  });

  test('its client, which connects later, takes it on unannounced, and its will ends it', async () => {
    const { willow, voice } = stage;
    const { will, birth } = await prepare(willow, 'later', { sessionId: 'phone', live: true });
    const epoch = Date.now();
    await voice.say(birth.topic, withEpoch(birth, epoch));
    await willow.presenceWhen('later', ({ sessions }) => sessions[0]?.epoch === epoch);
    expect(await announced(willow, 'later')).toHaveLength(2);
    await voice.say(will.topic, withEpoch(will, epoch));
    expect((await announcedWhen(willow, 'later', 4)).at(-1)).toBe(`user.offline phone ${epoch} will`);
  });

  test('prepared again while its client is connected, the will that the client has still counts', async () => {
    const { willow, voice } = stage;
    const first = await prepare(willow, 'again', { sessionId: 'phone', live: true });
    await voice.say(first.birth.topic, withEpoch(first.birth, 7));
    await willow.presenceWhen('again', ({ sessions }) => sessions[0]?.epoch === 7);
    await prepare(willow, 'again', { sessionId: 'phone', live: true });
    expect((await willow.presence('again')).sessions).toMatchObject([{ status: 'online', epoch: 7 }]);
    await voice.say(first.will.topic, withEpoch(first.will, 7));
    expect((await announcedWhen(willow, 'again', 4)).at(-1)).toBe('user.offline phone 7 will');
    await prepare(willow, 'again', { sessionId: 'phone', live: true });
    expect((await willow.presence('again')).sessions).toMatchObject([{ status: 'online', epoch: null }]);
    expect((await announced(willow, 'again')).slice(4)).toEqual(['session.started phone -', 'user.online phone -']);
  });

  test('a lease of its own ends it where no client comes', async () => {
    await prepare(stage.willow, 'nobody', { sessionId: 'phone', live: true, leaseMs: 600 });
    expect((await announcedWhen(stage.willow, 'nobody', 4)).at(-1)).toBe('user.offline phone - expired');
  });

  test('a lease that runs out before its client comes takes nothing from it: what it counts from is heard', async () => {
    const { willow, voice } = stage;
    for (const count of [4, 8]) {
      await prepare(willow, 'slow', { sessionId: 'phone', live: true, leaseMs: 300 });
      await announcedWhen(willow, 'slow', count);
    }
    const { will, birth } = await prepare(willow, 'slow', { sessionId: 'phone' });
    for (const epoch of [0, 1]) {
      await voice.say(birth.topic, withEpoch(birth, epoch));
      await willow.presenceWhen('slow', ({ sessions }) => sessions[0]?.epoch === epoch);
      await voice.say(will.topic, withEpoch(will, epoch, { reason: 'logout' }));
      await willow.presenceWhen('slow', ({ status }) => status === 'offline');
    }
    const { body } = await willow.get('/users/slow/sessions');
    expect(body).toMatchObject({ data: [{ status: 'ended', epoch: 1, reason: 'logout' }] });
  });

  test('kicked before its client comes, and prepared again, it is taken on by the birth, and ended by the will', async () => {
    const { willow, voice } = stage;
    const first = await prepare(willow, 'kicked', { sessionId: 'phone' });
    await voice.say(first.birth.topic, withEpoch(first.birth, 5));
    await voice.say(first.will.topic, withEpoch(first.will, 5, { reason: 'logout' }));
    await announcedWhen(willow, 'kicked', 4);
    await prepare(willow, 'kicked', { sessionId: 'phone', live: true });
    await call(`${willow.http}/users/kicked/sessions/phone`, { method: 'DELETE' });
    const { will, birth } = await prepare(willow, 'kicked', { sessionId: 'phone', live: true });
    await voice.say(birth.topic, withEpoch(birth, 6));
    await willow.presenceWhen('kicked', ({ sessions }) => sessions[0]?.epoch === 6);
    await voice.say(will.topic, withEpoch(will, 6));
    expect((await announcedWhen(willow, 'kicked', 12)).slice(4)).toEqual([
      'session.started phone -',
      'user.online phone -',
      'session.ended phone - kicked',
      'user.offline phone - kicked',
      'session.started phone -',
      'user.online phone -',
      'session.ended phone 6 will',
      'user.offline phone 6 will',
    ]);
  });

  test('without it nothing is there until the birth', async () => {
    await prepare(stage.willow, 'not-yet');
    expect(await stage.willow.presence('not-yet')).toMatchObject({ status: 'offline', sequence: 0 });
  });
});

test('the audit trail tells who prepared which session, and holds no ticket', async () => {
  const { sessionId, will } = await prepare(stage.willow, 'audited', { live: true });
  await prepare(stage.willow, 'audited', { sessionId: 'tablet' });
  const { body } = await call<{ data: { action: string; detail: object }[] }>(
    `${stage.willow.http}/audit?target=user:audited`,
  );
  expect(body.data).toMatchObject([
    { actor: 'loopback', action: 'session.prepared', detail: { sessionId: 'tablet', live: false } },
    { actor: 'loopback', action: 'session.prepared', detail: { sessionId, live: true } },
  ]);
  expect(JSON.stringify(body)).not.toContain('eyJ');
  expect(stage.willow.child.lines.join('\n')).not.toContain(will.payload.ticket.split('.')[2]);
});

test('where no key is, the answer says so', async () => {
  const willow = await stage.open({ SECRET_KEY: '', ROLES: 'ingest,api' });
  expect(await ask(willow, 'ada')).toMatchObject({ status: 501, body: { type: 'urn:willow:problem:no-secret-key' } });
});
