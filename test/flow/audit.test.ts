// The audit trail: what somebody did is in it, what was not done is not, and nothing in it is a secret.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { adminKey, type KeyBody, makeKey, type Send, sendTo } from '../support/keys.ts';
import { startWillow, type Willow } from '../support/willow.ts';

let database: TestDatabase;
let willow: Willow;
/** The calls of somebody who may do everything, by a stored key. */
let send: Send;
let somebody: KeyBody;

beforeAll(async () => {
  database = await createDatabase();
  willow = await startWillow({ DATABASE_URL: database.url, ROLES: 'api', API_KEY: adminKey });
  somebody = await makeKey(willow, [
    'keys:admin',
    'webhooks:admin',
    'sessions:write',
    'presence:read',
    'quarantine:admin',
  ]);
  send = (method, path, options = {}) => sendTo(willow)(method, path, { key: somebody.key, ...options });
});
afterAll(async () => {
  await willow[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

type Entry = {
  readonly id: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: Readonly<Record<string, unknown>>;
};

async function trail(query = ''): Promise<readonly Entry[]> {
  const { body } = await send<{ data: readonly Entry[] }>('GET', `/audit?limit=1000${query}`);
  return body.data;
}

/** What a piece of work leaves in the trail, oldest first, as `action target detail`; all of it by the same one. */
async function leftBy(work: () => Promise<unknown>): Promise<readonly string[]> {
  const before = (await trail())[0]?.id ?? 0;
  await work();
  const entries = (await trail()).filter(({ id }) => id > before).toReversed();
  expect(entries.every(({ actor }) => actor === `key:${somebody.id}`)).toBe(true);
  return entries.map(({ action, target, detail }) => `${action} ${target} ${JSON.stringify(detail)}`);
}

type Hook = { readonly id: string };
const path = 'services/T0/a-token-in-the-path';
const url = `https://hooks.example.com/${path}?sig=a-signature`;

async function createHook(more: object = {}): Promise<string> {
  const { status, body } = await send<Hook>('POST', '/webhooks', { body: { url, ...more } });
  expect(status).toBe(201);
  return body.id;
}

/** A user with live sessions, as births leave one. */
async function settle(userId: string, sessions: readonly string[]): Promise<void> {
  await database.pool.query(`insert into users (user_id, revision, sequence, since) values ($1, 1, 0, now())`, [
    userId,
  ]);
  await database.pool.query(
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at)
     select $1, s, 'online', 7, now(), now() from unnest($2::text[]) s`,
    [userId, sessions],
  );
}

async function park(endpointId: string, count: number): Promise<readonly number[]> {
  const { rows } = await database.pool.query<{ id: string }>(
    `insert into parked (endpoint_id, position, event, reason, parked_at, attempts)
     select $1, n, '{}', 'refused', now(), 3 from generate_series(1, $2::int) n returning id`,
    [endpointId, count],
  );
  return rows.map(({ id }) => Number(id));
}

async function quarantine(): Promise<number> {
  const { rows } = await database.pool.query<{ id: string }>(
    `insert into quarantine (received_at, topic, payload, payload_bytes, reason, detail)
     values (now(), '/logout', '{', 1, 'not-json', 'the payload is not valid JSON') returning id`,
  );
  return Number(rows[0]?.id);
}

describe('what somebody does is in the trail, with who it was', () => {
  test('keys that are made and removed', async () => {
    let id = '';
    const left = await leftBy(async () => {
      ({ id } = await makeKey(willow, ['presence:read'], {
        name: 'x',
        expiresAt: '2099-01-01T00:00:00Z',
        by: somebody.key,
      }));
      await send('DELETE', `/keys/${id}`);
    });
    expect(left).toEqual([
      `key.created key:${id} {"name":"x","scopes":["presence:read"],"expiresAt":"2099-01-01T00:00:00.000Z"}`,
      `key.removed key:${id} {"name":"x"}`,
    ]);
  });

  test('webhooks that are made, changed, rotated, replayed, enabled and removed', async () => {
    let id = '';
    const left = await leftBy(async () => {
      id = await createHook({ events: ['user.offline'] });
      await send('PATCH', `/webhooks/${id}`, { body: { url: `${url}2`, enabled: false, description: 'billing' } });
      await send('POST', `/webhooks/${id}/rotate`);
      await send('POST', `/webhooks/${id}/replay`, { body: { after: 0 } });
      await send('POST', `/webhooks/${id}/enable`);
      await send('DELETE', `/webhooks/${id}`);
    });
    const origin = '"url":"https://hooks.example.com"';
    const wish = '"after":null,"lanes":8,"events":["user.offline"],"enabled":true,"maxBatch":1,"description":null';
    expect(left.map((line) => line.replace(` webhook:${id}`, ''))).toEqual([
      `webhook.created {${origin},${wish}}`,
      `webhook.changed {${origin},"enabled":false,"description":"billing"}`,
      'webhook.rotated {}',
      'webhook.replayed {"after":0}',
      'webhook.enabled {}',
      `webhook.removed {${origin}}`,
    ]);
  });

  test('parked events that are sent again, or given up', async () => {
    const id = await createHook();
    const [, second] = await park(id, 3);
    const left = await leftBy(async () => {
      await send('POST', `/webhooks/${id}/parked/${second}/retry`);
      await send('POST', `/webhooks/${id}/parked/retry`);
      await send('DELETE', `/webhooks/${id}/parked/${second}`);
      await send('DELETE', `/webhooks/${id}/parked/${second}`);
    });
    expect(left).toEqual([
      `parked.retried webhook:${id} {"retried":1,"parkedId":${second}}`,
      `parked.retried webhook:${id} {"retried":3}`,
      `parked.removed webhook:${id} {"parkedId":${second},"position":2}`,
    ]);
  });

  test('kicks, of one session and of a user', async () => {
    await settle('kick/ed ☃', ['phone', 'tablet']);
    const at = `/users/${encodeURIComponent('kick/ed ☃')}/sessions`;
    const left = await leftBy(async () => {
      expect((await send('DELETE', `${at}/phone`)).status).toBe(204);
      expect((await send('DELETE', at)).status).toBe(204);
    });
    expect(left).toEqual(['session.kicked user:kick/ed ☃ {"sessionId":"phone"}', 'user.kicked user:kick/ed ☃ {}']);
    const { rows } = await database.pool.query(`select from events where user_id = 'kick/ed ☃' and reason = 'kicked'`);
    expect(rows).toHaveLength(3);
  });

  test('twenty kicks at once are one end, and one entry for each kick that changed something', async () => {
    await settle('crowd', ['phone']);
    const left = await leftBy(() =>
      Promise.all(Array.from({ length: 20 }, () => send('DELETE', '/users/crowd/sessions/phone'))),
    );
    expect(left).toEqual(['session.kicked user:crowd {"sessionId":"phone"}']);
  });

  test('messages that are taken out of the quarantine, with why they were there', async () => {
    const id = await quarantine();
    const left = await leftBy(async () => {
      expect((await send('DELETE', `/quarantine/${id}`)).status).toBe(204);
      expect((await send('DELETE', `/quarantine/${id}`)).status).toBe(404);
    });
    expect(left).toEqual([`quarantine.removed quarantine:${id} {"reason":"not-json"}`]);
  });

  test('whoever it was: a stored key, the key of the setting, or somebody on this machine', async () => {
    const byAdmin = await makeKey(willow, ['presence:read']);
    await using keyless = await startWillow({ DATABASE_URL: database.url, ROLES: 'api' });
    await fetch(`${keyless.http}/keys/${byAdmin.id}`, { method: 'DELETE' });
    const entries = await trail(`&target=key:${byAdmin.id}`);
    expect(entries.map(({ actor, action }) => [actor, action])).toEqual([
      ['loopback', 'key.removed'],
      ['api-key', 'key.created'],
    ]);
  });
});

describe('what is not done is not in the trail', () => {
  test('because it was refused, or there was nothing to do', async () => {
    const id = await createHook();
    await settle('idle', []);
    await settle('busy', ['phone']);
    const left = await leftBy(async () => {
      const refused = [
        await send('POST', '/keys', { body: { name: '', scopes: [] } }),
        await send('DELETE', '/keys/0000000000000000'),
        await send('POST', '/webhooks', { body: { url: 'http://10.0.0.1/' } }),
        await send('POST', '/webhooks', { body: { url, after: 1_000_000 } }),
        await send('PATCH', '/webhooks/whe_nobody', { body: {} }),
        await send('PATCH', `/webhooks/${id}`, { body: { lanes: 0 } }),
        await send('POST', '/webhooks/whe_nobody/rotate'),
        await send('POST', '/webhooks/whe_nobody/enable'),
        await send('POST', `/webhooks/${id}/replay`, { body: { after: 1_000_000 } }),
        await send('DELETE', '/webhooks/whe_nobody'),
        await send('POST', `/webhooks/${id}/parked/77/retry`),
        await send('POST', '/webhooks/whe_nobody/parked/retry'),
        await send('DELETE', '/users/busy/sessions/tablet'),
      ];
      for (const { status } of refused) expect(status).toBeGreaterThanOrEqual(400);
      expect((await send('POST', `/webhooks/${id}/parked/retry`)).body).toEqual({ retried: 0 });
      expect((await send('DELETE', '/users/idle/sessions')).status).toBe(204);
      expect((await send('DELETE', '/users/nobody/sessions')).status).toBe(204);
    });
    expect(left).toEqual([]);
  });

  test('because a key with another scope asked for it', async () => {
    const reader = await makeKey(willow, ['presence:read']);
    const before = (await trail())[0]?.id;
    expect((await sendTo(willow)('POST', '/webhooks', { key: reader.key, body: { url } })).status).toBe(403);
    expect((await sendTo(willow)('DELETE', '/users/ada/sessions', { key: reader.key })).status).toBe(403);
    expect((await trail())[0]?.id).toBe(before);
  });
});

test('what cannot be written into the trail is not done', async () => {
  const id = await createHook();
  const parkedIds = await park(id, 1);
  const key = await makeKey(willow, ['presence:read']);
  await settle('kept', ['phone']);
  const messageId = await quarantine();
  const stateOf = async () => {
    const [hooks, keys, kept, parked] = await Promise.all([
      database.pool.query(
        `select id, url, lanes, secret, previous_secret, disabled_reason, revision from endpoints order by id`,
      ),
      database.pool.query('select id, name from api_keys order by id'),
      database.pool.query(
        `select u.revision, s.status, s.ended_at from users u join sessions s using (user_id) where user_id = 'kept'`,
      ),
      database.pool.query('select id, retry_at from parked order by id'),
    ]);
    const { rows: messages } = await database.pool.query('select id from quarantine order by id');
    const { rows: events } = await database.pool.query('select position from log_head');
    return [hooks.rows, keys.rows, kept.rows, parked.rows, messages, events];
  };
  const before = await stateOf();
  await database.pool.query(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
    create trigger refuse before insert on audit for each row execute function refuse()`);
  const failed = [
    await send('POST', '/keys', { body: { name: 'x', scopes: ['presence:read'] } }),
    await send('DELETE', `/keys/${key.id}`),
    await send('POST', '/webhooks', { body: { url } }),
    await send('PATCH', `/webhooks/${id}`, { body: { lanes: 3, enabled: false } }),
    await send('POST', `/webhooks/${id}/rotate`),
    await send('POST', `/webhooks/${id}/enable`),
    await send('POST', `/webhooks/${id}/replay`, { body: { after: 0 } }),
    await send('DELETE', `/webhooks/${id}`),
    await send('POST', `/webhooks/${id}/parked/${parkedIds[0]}/retry`),
    await send('DELETE', '/users/kept/sessions/phone'),
    await send('DELETE', '/users/kept/sessions'),
    await send('DELETE', `/quarantine/${messageId}`),
  ];
  await database.pool.query('drop trigger refuse on audit');
  expect(failed.map(({ status }) => status)).toEqual(failed.map(() => 500));
  expect(await stateOf()).toEqual(before);
  expect((await sendTo(willow)('GET', '/users/ada/presence', { key: key.key })).status).toBe(200);
});

test('nothing in the trail is a secret: no key, no secret of a webhook, no path of its URL', async () => {
  const id = await createHook();
  const { body: rotated } = await send<{ secret: string }>('POST', `/webhooks/${id}/rotate`);
  const text = JSON.stringify(await trail());
  expect(text).toContain('https://hooks.example.com');
  const secrets = [rotated.secret.replace('whsec_', ''), somebody.key.slice(24), path, 'a-signature', adminKey];
  for (const hidden of [...secrets, 'whsec_']) expect(text.includes(hidden), hidden).toBe(false);
});
