// From a client of a real broker to a backend: what is sent, to whom, and with what in it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeCertificate } from '../support/raw-receiver.ts';
import { openReceiver, withoutRepeats } from '../support/receiver.ts';
import { until } from '../support/until.ts';
import { openVoice, withWill } from '../support/voice.ts';
import { call, headOf, playWebhooks, subscribe, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();

test('a client that vanishes is a signed webhook, with all that is needed to act on it', async () => {
  const { stage, receiver } = play;
  const id = await play.hook();
  const startedAtMs = Date.now();
  const identity = { userId: 'ann', sessionId: 'phone', epoch: 1 };
  await using device = await openVoice(stage.mosquitto.url, withWill('/logout', identity));
  await device.say('/login', { ...identity, device: { os: 'ios' } });
  await receiver.takenWhen(2);
  device.vanish();
  const events = await receiver.takenWhen(4);
  const deliveries = receiver.deliveries();
  const endedAtMs = Date.now();
  expect(events.map(({ type, sequence }) => `${sequence} ${type}`)).toEqual([
    '1 session.started',
    '2 user.online',
    '3 session.ended',
    '4 user.offline',
  ]);
  for (const event of events) {
    expect(event).toMatchObject({ ...identity, device: { os: 'ios' } });
    expect('reason' in event ? event.reason : 'none').toBe(event.sequence > 2 ? 'will' : 'none');
    const atMs = Date.parse(event.at);
    expect(atMs >= startedAtMs && atMs <= endedAtMs).toBe(true);
  }
  // What is read over HTTP and what is sent are the same, to the last field.
  expect(events).toEqual(await stage.willow.events('ann'));
  expect(deliveries.map((delivery) => delivery.id)).toEqual(events.map(({ position }) => `${id}_${position}`));
  for (const [index, { body, headers, path }] of deliveries.entries()) {
    const data = events[index];
    expect(JSON.parse(body)).toEqual({ type: data?.type, timestamp: data?.at, data });
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Willow' });
    expect(path).toBe('/hook');
  }
});

test('every way in which a session ends is told with its reason, a will that nothing is known of included', async () => {
  await play.hook({ events: ['session.ended', 'user.offline'] });
  for (const userId of ['says-goodbye', 'is-kicked', 'vanishes']) await play.login(userId, { epoch: 5 });
  await play.willow.presenceWhen('vanishes', ({ status }) => status === 'online');
  await play.stage.voice.say('/logout', { userId: 'says-goodbye', sessionId: 'phone', epoch: 5, reason: 'logout' });
  expect((await call(play.willow, 'DELETE', '/users/is-kicked/sessions')).status).toBe(204);
  await play.stage.voice.say('/logout', { userId: 'vanishes', sessionId: 'phone', epoch: 5 });
  // The origin of all this: a bare user id, and nothing else.
  await play.stage.voice.say('/logout', '{was-never-seen}');
  const events = withoutRepeats(await play.receiver.deliveredWhen(8));
  const told = events.map((event) => {
    const reason = 'reason' in event ? event.reason : 'none';
    return [event.userId, event.sequence, event.type, event.sessionId, event.epoch, reason].join(' ');
  });
  expect(told.toSorted()).toEqual([
    'is-kicked 3 session.ended phone 5 kicked',
    'is-kicked 4 user.offline phone 5 kicked',
    'says-goodbye 3 session.ended phone 5 logout',
    'says-goodbye 4 user.offline phone 5 logout',
    'vanishes 3 session.ended phone 5 will',
    'vanishes 4 user.offline phone 5 will',
    'was-never-seen 1 session.ended default  will',
    'was-never-seen 2 user.offline default  will',
  ]);
});

test('only the types that were asked for are sent, and only what comes after the endpoint; they can be changed', async () => {
  await play.login('before');
  await play.willow.presenceWhen('before', ({ status }) => status === 'online');
  const id = await play.hook({ events: ['user.offline'] });
  await play.login('bob');
  await play.will('before');
  await play.will('bob');
  const events = await play.receiver.takenWhen(2);
  expect(events.map(({ type }) => type)).toEqual(['user.offline', 'user.offline']);
  expect(new Set(events.map(({ userId }) => userId))).toEqual(new Set(['before', 'bob']));
  await call(play.willow, 'PATCH', `/webhooks/${id}`, { events: ['user.online', 'session.started'] });
  // The process that sends hears of it a moment later.
  await until('the change is known', async () => {
    await play.login('dora');
    await play.will('dora');
    return play.receiver.taken().some(({ type }) => type === 'user.online');
  });
  for (let n = 0; n < 2; n += 1) {
    await play.login('carol');
    await play.will('carol');
  }
  await play.login('carol');
  const ofCarol = () => play.receiver.taken().filter(({ userId }) => userId === 'carol');
  await until('all of carol', () => ofCarol().length >= 6);
  const types = ['session.started', 'user.online'];
  expect(ofCarol().map(({ type }) => type)).toEqual([...types, ...types, ...types]);
});

test('an endpoint that asks for it gets the log from where it says, in its order', async () => {
  const before = await headOf(play.stage);
  for (const userId of ['early', 'bird', 'early']) await play.login(userId);
  for (const userId of ['bird', 'early']) await play.will(userId);
  await play.willow.presenceWhen('early', ({ sequence }) => sequence === 4);
  const after = before + 1;
  await play.hook({ after, lanes: 1 });
  const events = await play.receiver.takenWhen((await headOf(play.stage)) - after);
  const { rows } = await play.stage.database.pool.query<{ position: string }>(
    'select position from events where position > $1 order by position',
    [after],
  );
  expect(events.map(({ position }) => position)).toEqual(rows.map(({ position }) => Number(position)));
});

test('a test is sent at once, whatever the state of the endpoint, and its answer told', async () => {
  const id = await play.hook();
  await call(play.willow, 'PATCH', `/webhooks/${id}`, { enabled: false });
  const { position } = (await webhookOf(play.willow, id)).lag;
  const tried = await call(play.willow, 'POST', `/webhooks/${id}/test`);
  expect(tried).toMatchObject({ status: 200, body: { outcome: 'delivered', status: 204, detail: null } });
  play.receiver.answer(() => 500);
  const failed = await call(play.willow, 'POST', `/webhooks/${id}/test`);
  expect(failed.body).toMatchObject({ outcome: 'failed', status: 500, detail: 'answered 500' });
  const deliveries = play.receiver.deliveries();
  expect(new Set(deliveries.map((delivery) => delivery.id)).size).toBe(2);
  for (const delivery of deliveries) {
    expect(delivery.id).toMatch(new RegExp(`^${id}_t[\\w-]{12}$`));
    expect(JSON.parse(delivery.body)).toMatchObject({ type: 'webhook.test', data: { endpointId: id } });
  }
  expect((await webhookOf(play.willow, id)).lag.position).toBe(position);
});

test('over https, to a certificate that the process trusts; where nothing says otherwise, http is refused', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'willow-trust-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(directory, { recursive: true }));
  const certificate = await makeCertificate('IP:127.0.0.1');
  await writeFile(join(directory, 'trusted.pem'), certificate.cert);
  const willow = await play.stage.open({
    WEBHOOK_ALLOW_NETWORKS: '127.0.0.1',
    NODE_EXTRA_CA_CERTS: join(directory, 'trusted.pem'),
  });
  const secure = cleanup.use(await openReceiver(certificate));
  await subscribe(willow, secure);
  expect((await call(willow, 'POST', '/webhooks', { url: play.receiver.url })).status).toBe(422);
  await play.login('secured');
  const events = await secure.takenWhen(2);
  expect(secure.url).toMatch(/^https:/);
  expect(events.map(({ type }) => type)).toEqual(['session.started', 'user.online']);
});
