// After all that a Willow goes through, no key, secret, password or payload stands in what it shows: its output at whatever level, its
// metrics, its readiness, and the problems that it answers with.

import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createAuthority } from '../support/certificates.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { openReceiver, type Receiver } from '../support/receiver.ts';
import { refusalOf } from '../support/refusal.ts';
import { type SecureMosquitto, startSecureMosquitto } from '../support/secure-mosquitto.ts';
import { openSpyglass, type Shown } from '../support/spyglass.ts';
import { until } from '../support/until.ts';
import { openVoice, withWill } from '../support/voice.ts';
import { allowLoopback } from '../support/webhooks.ts';
import { startWillow, type Willow } from '../support/willow.ts';

type Json = { readonly [name: string]: unknown };
type Ask = (
  method: string,
  path: string,
  more?: { body?: string | Json; headers?: Record<string, string> },
) => Promise<Json>;

type World = {
  readonly spyglass: Shown;
  readonly mosquitto: SecureMosquitto;
  readonly database: TestDatabase;
  readonly willow: Willow;
  readonly apiKey: string;
  /** By the admin key, unless the headers say another; problems are shown to the spyglass. */
  readonly ask: Ask;
  readonly device: Readonly<Record<'username' | 'password', string>>;
};

const random = (what: string) => `${what}-${randomBytes(12).toString('hex')}`;

function askerOf(spyglass: Shown, willow: Willow, apiKey: string): Ask {
  return async (method, path, { body, headers = {} } = {}) => {
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const response = await fetch(`${willow.http}${path}`, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, ...type, ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.status >= 400) spyglass.show(`the ${response.status} of ${method} ${path}`, text);
    return (text === '' ? {} : JSON.parse(text)) as Json;
  };
}

describe.concurrent.each(['trace', 'info'])('at LOG_LEVEL %s', (level) => {
  test('no key, secret, password or payload is shown, whatever is done and whatever fails', {
    timeout: 180_000,
  }, async () => {
    await using resources = new AsyncDisposableStack();
    const world = await openWorld(level, resources);
    const { spyglass, willow } = world;
    await callWithBadKeys(world);
    await handleKeys(world);
    await prepareLogin(world);
    const receiver = await handleWebhooks(world, resources);
    await speakOnTheBroker(world);
    await breakThings(world);
    await hideSignatures(spyglass, receiver, 4);
    await startWithBadPasswords(world);
    spyglass.show('the metrics', await textOf(world, '/metrics'));
    spyglass.show('the audit trail', await textOf(world, '/audit?limit=1000'));
    spyglass.show('/readyz', await textOf(world, '/readyz'));
    expect(await willow.child.end('SIGTERM')).toBe(0);
    spyglass.show('the log', willow.child.lines.join('\n'));
    // What was done is there, so that what was hidden would be.
    const events = new Set(willow.log().map(({ event }) => event));
    for (const event of ['link.up', 'link.down', 'loop.failed', 'batch.settled']) expect([...events]).toContain(event);
    expect(spyglass.hidden()).toBeGreaterThan(20);
    expect(spyglass.seen()).toEqual([]);
  });
});

async function openWorld(level: string, resources: AsyncDisposableStack): Promise<World> {
  const spyglass = openSpyglass();
  const hide = (what: string) => spyglass.hide(what, random(what.replaceAll(' ', '-')));
  const passwords = { willow: hide('the password for the broker'), device: hide('the password of a device') };
  const authority = resources.use(await createAuthority());
  const server = await authority.issue('a broker', { altNames: ['IP:127.0.0.1'] });
  const mosquitto = resources.use(await startSecureMosquitto({ authority, server, users: passwords }));
  const database = resources.use(await createDatabase());
  spyglass.hide('the password for the database', new URL(database.url).password);
  const apiKey = hide('the admin key');
  const secretKeys = ['newest', 'older'].map((which) =>
    spyglass.hide(`the ${which} secret key`, randomBytes(32).toString('base64url')),
  );
  const willow = resources.use(
    await startWillow({
      ...allowLoopback,
      LOG_LEVEL: level,
      GRACE_MS: '0',
      API_KEY: apiKey,
      SECRET_KEY: secretKeys.join(),
      DATABASE_URL: database.url,
      MQTT_URL: mosquitto.urls.wss,
      MQTT_CA_FILE: authority.caFile,
      MQTT_USERNAME: 'willow',
      MQTT_PASSWORD: passwords.willow,
    }),
  );
  await willow.logged('link.up');
  const device = { username: 'device', password: passwords.device };
  return { spyglass, mosquitto, database, willow, apiKey, ask: askerOf(spyglass, willow, apiKey), device };
}

async function textOf({ willow, apiKey }: World, path: string): Promise<string> {
  const response = await fetch(`${willow.http}${path}`, { headers: { authorization: `Bearer ${apiKey}` } });
  expect(response.status).toBe(200);
  return response.text();
}

/** Keys that are none, and bodies and addresses with something in them that is nobody's business. */
async function callWithBadKeys({ ask, spyglass, apiKey }: World): Promise<void> {
  const guess = (what: string) => spyglass.hide(what, random(what.replaceAll(' ', '-')));
  const authorizations = [
    `Bearer ${guess('a guessed key')}`,
    `Bearer ${apiKey}x`,
    `Basic ${Buffer.from(`admin:${guess('a basic password')}`).toString('base64')}`,
    `Bearer ${guess('a key')} ${guess('another key')}`,
    guess('a naked key'),
  ];
  for (const authorization of authorizations) {
    for (const path of ['/users/ann/presence', '/webhooks', '/metrics', '/nowhere'])
      await ask('GET', path, { headers: { authorization } });
  }
  await ask('GET', `/users/ann/presence?token=${guess('a token in a query')}`);
  await ask('GET', `/webhooks?cursor=${guess('a token in a cursor')}`);
  await ask('POST', '/webhooks', { body: `{"url":"https://example.com/${guess('a token in broken JSON')}"` });
  await ask('POST', '/webhooks', { body: { url: `https://user:${guess('a password in a URL')}@example.com/` } });
  await ask('POST', '/webhooks', {
    body: { url: `ftp://example.com/${guess('a token in a refused URL')}`, events: ['none'] },
  });
  const type = { 'content-type': 'text/plain' };
  await ask('POST', '/webhooks', { body: guess('a body of another type'), headers: type });
}

/** Made, used, used where it may not be, removed, and used again; listed, with what was done, by the audit trail. */
async function handleKeys({ ask, spyglass }: World): Promise<void> {
  const made = await ask('POST', '/keys', { body: { name: 'a backend', scopes: ['presence:read'] } });
  const key = spyglass.hide('a stored key', String(made['key']));
  spyglass.hide('the secret of a stored key', key.split('_')[2] ?? '');
  const headers = { authorization: `Bearer ${key}` };
  for (const path of ['/users/ann/presence', '/webhooks', '/audit']) await ask('GET', path, { headers });
  await ask('GET', '/users/ann/presence', { headers: { authorization: `Bearer ${key.slice(0, -1)}` } });
  spyglass.show('the list of keys', JSON.stringify(await ask('GET', '/keys')));
  await ask('DELETE', `/keys/${String(made['id'])}`);
  await ask('GET', '/users/ann/presence', { headers });
}

/** A login that is prepared, said by its client, and its ticket used where it is not good; a backend asks twice, and erases the user. */
async function prepareLogin(world: World): Promise<void> {
  const { ask, spyglass, mosquitto, device } = world;
  const model = spyglass.hide('the device of a prepared login', random('model'));
  const key = spyglass.hide('an Idempotency-Key', random('once'));
  const request = { body: { sessionId: 'phone', device: { model } }, headers: { 'idempotency-key': key } };
  const prepared = await ask('POST', '/users/bea/sessions', request);
  await ask('POST', '/users/bea/sessions', { ...request, body: {} });
  const { birth, will } = prepared as Readonly<Record<'birth' | 'will', { topic: string; payload: Json }>>;
  const tickets = { 'the ticket of a birth': birth.payload['ticket'], 'the ticket of a will': will.payload['ticket'] };
  for (const [what, ticket] of Object.entries(tickets)) {
    spyglass.hide(what, String(ticket));
    spyglass.hide(`the signature in ${what}`, String(ticket).split('.')[2] ?? '');
  }
  await using client = await openVoice(mosquitto.url, device);
  await client.say(birth.topic, { ...birth.payload, epoch: 1 });
  await until('bea online', async () => (await ask('GET', '/users/bea/presence'))['status'] === 'online');
  const ticket = String(will.payload['ticket']);
  await client.say('/logout/cid', { userId: 'cid', ticket });
  await client.say('/logout/bea', { ...will.payload, ticket: `${ticket.slice(0, -2)}AA`, epoch: 1 });
  await client.say(will.topic, { ...will.payload, epoch: 1 });
  await until('the end of bea', async () => (await ask('GET', '/users/bea/presence'))['status'] === 'offline');
  for (const reason of ['wrong-user', 'bad-ticket']) {
    expect(await textOf(world, '/metrics')).toContain(`willow_quarantined_total{reason="${reason}"} 1`);
  }
  await ask('DELETE', '/users/bea');
}

/** Made, rotated, tested, and failing in every way with words of its own. */
async function handleWebhooks({ ask, spyglass }: World, resources: AsyncDisposableStack): Promise<Receiver> {
  const receiver = resources.use(await openReceiver());
  const answer = spyglass.hide('the answer of a receiver', random('answer'));
  const statuses = [500, 422, 302];
  receiver.answer((_delivery, response) => {
    response
      .writeHead(statuses[receiver.deliveries().length % statuses.length] ?? 500, { 'x-answer': answer })
      .end(answer);
    return undefined;
  });
  const path = spyglass.hide('the path of a webhook', random('path'));
  const made = await ask('POST', '/webhooks', { body: { url: `${receiver.url}/${path}`, lanes: 1 } });
  const id = String(made['id']);
  receiver.trust(hideSecret(spyglass, 'the secret of a webhook', made));
  const rotated = await ask('POST', `/webhooks/${id}/rotate`);
  receiver.trust(hideSecret(spyglass, 'the newer secret of a webhook', rotated));
  for (let times = 0; times < 3; times += 1) await ask('POST', `/webhooks/${id}/test`);
  return receiver;
}

/** Of whatever it was sent, so many deliveries at least. */
async function hideSignatures(spyglass: Shown, receiver: Receiver, count: number): Promise<void> {
  for (const { headers } of await receiver.deliveredWhen(count)) {
    const [signature = ''] = headers['webhook-signature']?.split(' ') ?? [];
    spyglass.hide(`the signature of ${headers['webhook-id']}`, signature.replace('v1,', ''));
  }
}

function hideSecret(spyglass: Shown, what: string, body: Json): string {
  const secret = String(body['secret']);
  spyglass.hide(what, secret.replace('whsec_', ''));
  return secret;
}

/** Births, wills, and what means nothing, each with words of its own; and a voice with a will that is killed. */
async function speakOnTheBroker({ ask, spyglass, mosquitto, device }: World): Promise<void> {
  const word = (what: string) => spyglass.hide(what, random(what.replaceAll(' ', '-')));
  const identity = {
    userId: 'ann',
    sessionId: 'phone',
    epoch: 1,
    device: { model: word('what a device says of itself') },
  };
  const client = await openVoice(mosquitto.url, {
    ...device,
    ...withWill('/logout', { ...identity, note: word('an unknown field of a will') }),
  });
  await client.say('/login', { ...identity, note: word('an unknown field of a birth') });
  await client.say('/logout/ann', `{"note":"${word('a payload that is no JSON')}`);
  await client.say('/logout/bob', { userId: 'ann', note: word('a payload that names another') });
  await client.say('/logout', { note: word('a payload without a user') });
  await client.say('/logout', Buffer.concat([Buffer.from(word('a payload that is no text')), Buffer.from([0xff])]));
  await client.say('/logout', { userId: 'ann', ticket: word('a ticket that nobody signed') });
  await client.say('/logout/100%', word('a payload on a topic that is none'));
  client.vanish();
  await until('the end of ann', async () => (await ask('GET', '/users/ann/presence'))['status'] === 'offline');
}

/** The broker goes and comes; the database drops every connection. */
async function breakThings({ mosquitto, database, willow, ask }: World): Promise<void> {
  await mosquitto.stop('SIGKILL');
  await willow.logged('loop.failed');
  expect((await ask('GET', '/readyz'))['status']).toBe(503);
  await mosquitto.restart();
  await until('ready again', async () => (await ask('GET', '/readyz'))['status'] === 'ready');
  await database.pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  );
  await until('ready once more', async () => (await ask('GET', '/readyz'))['status'] === 'ready');
}

/** Others, whose passwords are wrong: for the broker, and for the database. */
async function startWithBadPasswords({ mosquitto, database, spyglass }: World): Promise<void> {
  const wrong = spyglass.hide('a wrong password for the broker', random('wrong'));
  const bad = { MQTT_URL: mosquitto.urls.ws, MQTT_USERNAME: 'willow', MQTT_PASSWORD: wrong, MQTT_CLIENT_ID: 'other' };
  await using other = await startWillow({ ...bad, DATABASE_URL: database.url, LOG_LEVEL: 'trace' });
  await other.logged('loop.failed');
  spyglass.show('the log of one with a wrong password for the broker', other.child.lines.join('\n'));
  const url = new URL(database.url);
  url.password = spyglass.hide('a wrong password for the database', random('wrong'));
  const { code, said } = await refusalOf({ DATABASE_URL: url.href, LOG_LEVEL: 'trace' });
  expect(code).toBe(1);
  spyglass.show('the end of one with a wrong password for the database', said.join('\n'));
  const passwordInUrl = spyglass.hide('a password in the URL of the broker', random('wrong'));
  const refused = await refusalOf({ MQTT_URL: `mqtts://willow:${passwordInUrl}@broker`, API_KEY: 'short' });
  expect(refused.code).toBe(1);
  spyglass.show('the end of one with a password in a URL', refused.said.join('\n'));
}
