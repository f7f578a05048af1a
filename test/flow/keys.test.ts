// API keys, as those who are given one meet them: real processes, one real database, real sockets.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mintKey } from '../../src/http/api-key.ts';
import { type Scope, scopes } from '../../src/http/instance.ts';
import { believedMsMax } from '../../src/store/key-ring.ts';
import { bodyOf, json, pathOf } from '../http/calls.ts';
import { serve } from '../http/serve.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { call, type ProblemBody, readPages } from '../support/http.ts';
import { adminKey, bearer, type KeyBody, makeKey, sendTo } from '../support/keys.ts';
import { startOwnPostgres } from '../support/own-postgres.ts';
import type { Route } from '../support/route-table.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

let database: TestDatabase;
let willow: Willow;
let other: Willow;

beforeAll(async () => {
  database = await createDatabase();
  const settings = { DATABASE_URL: database.url, ROLES: 'api', API_KEY: adminKey };
  [willow, other] = await Promise.all([startWillow(settings), startWillow(settings)]);
});
afterAll(async () => {
  await Promise.all([willow[Symbol.asyncDispose](), other[Symbol.asyncDispose]()]);
  await database[Symbol.asyncDispose]();
});

const statusOf = async (at: Willow, key: string, path = '/users/ada/presence') =>
  (await fetch(`${at.http}${path}`, { headers: bearer(key) })).status;

/** The same key but for the last character. */
const withOtherSecret = (key: string) => `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`;

/** The table of the routes that a process serves. */
async function guardedRoutes(): Promise<readonly (Route & { readonly scope: Scope })[]> {
  await using served = await serve();
  return served.routes.filter((route): route is Route & { scope: Scope } => route.scope !== 'open');
}

async function ask({ method, url }: Route, headers: Record<string, string>) {
  const options = { method, ...bodyOf({ method, url }), headers: { ...json, ...headers } };
  const response = await fetch(`${willow.http}${pathOf({ url })}`, options);
  const text = await textOf(response);
  const shown = Object.fromEntries([...response.headers].filter(([name]) => name !== 'date'));
  return { status: response.status, text, shape: JSON.stringify([shown, text]), headers: response.headers };
}

/** A stream has no end: that it has begun is all there is to know. */
async function textOf(response: Response): Promise<string> {
  if (response.headers.get('content-type')?.startsWith('text/event-stream') !== true) return response.text();
  await response.body?.cancel();
  return '';
}

test('no route is opened by no key, a malformed, an unknown, an expired or a removed one, or a wrong secret', async () => {
  const [good, expired, removed] = [
    await makeKey(willow, scopes),
    await makeKey(willow, scopes, { expiresAt: '2099-01-01T00:00:00Z' }),
    await makeKey(willow, scopes),
  ];
  await database.pool.query(`update api_keys set expires_at = now() where id = $1`, [expired.id]);
  expect(await statusOf(willow, removed.key)).toBe(200);
  expect((await sendTo(willow)('DELETE', `/keys/${removed.id}`)).status).toBe(204);
  const wrong = {
    malformed: 'willow_nonsense',
    unknown: mintKey().key,
    'a wrong secret with the right id': withOtherSecret(good.key),
    removed: removed.key,
    'a part of the admin key': adminKey.slice(0, -1),
  };
  for (const route of await guardedRoutes()) {
    const what = `${route.method} ${route.url}`;
    const missing = await ask(route, {});
    expect([missing.status, missing.headers.get('www-authenticate')], what).toEqual([401, 'Bearer realm="willow"']);
    const shapes = new Set<string>();
    for (const [name, key] of Object.entries(wrong)) {
      const answer = await ask(route, bearer(key));
      expect(answer.status, `${what}, ${name}`).toBe(401);
      shapes.add(answer.shape);
    }
    expect(shapes.size, what).toBe(1);
    const late = await ask(route, bearer(expired.key));
    expect(late.status, what).toBe(401);
    if (route.method !== 'HEAD') expect(late.text, what).toContain('the API key has expired');
  }
  expect(await statusOf(willow, good.key)).toBe(200);
});

test('every route is opened by its own scope, and by no other', async () => {
  const keys = new Map<Scope, KeyBody>();
  for (const scope of scopes) keys.set(scope, await makeKey(willow, [scope]));
  for (const route of await guardedRoutes()) {
    for (const [scope, { key }] of keys) {
      const { status, text } = await ask(route, bearer(key));
      const what = `${route.method} ${route.url} with ${scope}: ${status} ${text}`;
      if (scope !== route.scope) {
        expect(status, what).toBe(403);
        if (route.method !== 'HEAD') expect(text, what).toContain(`"scope":"${route.scope}"`);
      } else {
        expect([401, 403], what).not.toContain(status);
        expect(status, what).toBeLessThan(500);
      }
    }
  }
});

describe('a key', () => {
  test('is made, read, listed without its secret, and removed', async () => {
    const made = await makeKey(willow, ['events:read', 'presence:read'], { name: 'Ada’s backend' });
    const { key, ...shown } = made;
    expect(shown).toMatchObject({ name: 'Ada’s backend', scopes: ['events:read', 'presence:read'], expiresAt: null });
    const send = sendTo(willow);
    expect(await send('GET', `/keys/${made.id}`)).toMatchObject({ status: 200, body: shown });
    const { body: list } = await send<{ data: readonly KeyBody[] }>('GET', '/keys?limit=1000');
    expect(list.data[0]).toEqual(shown);
    expect(JSON.stringify(list)).not.toContain(key.slice(24));
    expect((await send('DELETE', `/keys/${made.id}`)).status).toBe(204);
    for (const method of ['GET', 'DELETE']) {
      const problem = { status: 404, body: { type: 'urn:willow:problem:unknown-key' } };
      expect(await send(method, `/keys/${made.id}`)).toMatchObject(problem);
    }
  });

  test('is good in every process as soon as it is made, also where somebody has asked for it before', async () => {
    const { key } = await makeKey(willow, ['presence:read']);
    expect(await statusOf(other, key)).toBe(200);
    const minted = mintKey();
    expect(await statusOf(other, minted.key)).toBe(401);
    await database.pool.query(
      `insert into api_keys (id, name, scopes, digest, created_at) values ($1, 'x', '{presence:read}', $2, now())`,
      [minted.id, minted.digest],
    );
    expect(await statusOf(other, minted.key)).toBe(200);
  });

  test('that one process removes is refused there at once, and by another within a second', async () => {
    const { id, key } = await makeKey(willow, ['presence:read']);
    expect([await statusOf(willow, key), await statusOf(other, key)]).toEqual([200, 200]);
    expect((await sendTo(willow)('DELETE', `/keys/${id}`)).status).toBe(204);
    const removedAtMs = performance.now();
    expect(await statusOf(willow, key)).toBe(401);
    let takenAtMs = removedAtMs;
    await until('the other process refuses it', async () => {
      const sentAtMs = performance.now();
      const status = await statusOf(other, key);
      if (status === 200) takenAtMs = sentAtMs;
      return status === 401;
    });
    expect(takenAtMs - removedAtMs).toBeLessThanOrEqual(believedMsMax);
    expect(await statusOf(willow, key)).toBe(401);
  });

  test('is exchanged without a gap: the second is made, both are good, the first is removed', async () => {
    const first = await makeKey(willow, ['presence:read']);
    const second = await makeKey(willow, ['presence:read']);
    for (const at of [willow, other]) {
      expect(await Promise.all([statusOf(at, first.key), statusOf(at, second.key)])).toEqual([200, 200]);
    }
    await sendTo(other)('DELETE', `/keys/${first.id}`);
    expect([await statusOf(other, first.key), await statusOf(other, second.key)]).toEqual([401, 200]);
    expect(await statusOf(willow, second.key)).toBe(200);
  });

  test('may make others where it has the scope, and may remove itself', async () => {
    const admin = await makeKey(willow, ['keys:admin']);
    const made = await makeKey(willow, ['presence:read'], { by: admin.key });
    expect(await statusOf(willow, made.key)).toBe(200);
    expect((await sendTo(willow)('DELETE', `/keys/${admin.id}`, { key: admin.key })).status).toBe(204);
    expect(await statusOf(willow, admin.key, '/keys')).toBe(401);
    expect(await statusOf(willow, made.key)).toBe(200);
  });

  test('that expires while it is in use is refused from that moment on, in every process', async () => {
    const expiresAtMs = Date.now() + 3_000;
    const { key } = await makeKey(willow, ['presence:read'], { expiresAt: new Date(expiresAtMs).toISOString() });
    for (const at of [willow, other]) {
      await until('an expired key', async () => {
        const sentAtMs = Date.now();
        const status = await statusOf(at, key);
        expect(status === 200 && sentAtMs >= expiresAtMs).toBe(false);
        expect(status === 401 && Date.now() < expiresAtMs).toBe(false);
        return status === 401;
      });
    }
  });

  test('tells when it was last used, to the minute, and a failure to write it down fails no request', async () => {
    const { id, key } = await makeKey(willow, ['presence:read']);
    const lastUse = async () => (await sendTo(willow)<KeyBody>('GET', `/keys/${id}`)).body.lastUsedAt;
    expect(await lastUse()).toBeNull();
    const beforeMs = Date.now();
    expect(await statusOf(willow, key)).toBe(200);
    const usedAt = await until('the last use', lastUse);
    expect(Date.parse(usedAt)).toBeGreaterThanOrEqual(beforeMs);
    expect(Date.parse(usedAt)).toBeLessThanOrEqual(Date.now());
    await database.pool.query(`update api_keys set last_used_at = now() - interval '61 s' where id = $1`, [id]);
    await until('a later use', async () => {
      expect(await statusOf(willow, key)).toBe(200);
      return Date.parse((await lastUse()) ?? '') >= Date.parse(usedAt);
    });

    await database.pool.query(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
      create trigger refuse before update on api_keys for each row execute function refuse()`);
    const unwritten = await makeKey(willow, ['presence:read']);
    expect(await statusOf(willow, unwritten.key)).toBe(200);
    await until('a failure to write', () => willow.log().some((line) => line['loop'] === 'keys'));
    expect(await statusOf(willow, unwritten.key)).toBe(200);
    await database.pool.query('drop trigger refuse on api_keys');
    const written = async () => (await sendTo(willow)<KeyBody>('GET', `/keys/${unwritten.id}`)).body.lastUsedAt;
    await until('the last use, in the end', written);
  });
});

describe('where no API_KEY is set', () => {
  test('whether keys are needed does not hang on those that are stored, and one that is sent is checked', async () => {
    await using own = await createDatabase();
    await using keyless = await startWillow({ DATABASE_URL: own.url, ROLES: 'api' });
    const bare = async () => (await fetch(`${keyless.http}/users/ada/presence`)).status;
    expect(await bare()).toBe(200);
    const made = await call<KeyBody>(`${keyless.http}/keys`, {
      method: 'POST',
      headers: json,
      body: JSON.stringify({ name: 'x', scopes: ['presence:read'] }),
    });
    expect(made.status).toBe(201);
    expect([await bare(), await statusOf(keyless, made.body.key)]).toEqual([200, 200]);
    expect(await statusOf(keyless, made.body.key, '/metrics')).toBe(403);
    expect(await statusOf(keyless, mintKey().key)).toBe(401);
    const foreign = await call<ProblemBody>(`${keyless.http}/keys`, { headers: { origin: 'https://evil.com' } });
    expect(foreign).toMatchObject({ status: 403, body: { type: 'urn:willow:problem:origin-not-allowed' } });

    await using guarded = await startWillow({ DATABASE_URL: own.url, ROLES: 'api', API_KEY: adminKey });
    expect((await sendTo(guarded)('DELETE', `/keys/${made.body.id}`)).status).toBe(204);
    expect((await fetch(`${guarded.http}/users/ada/presence`)).status).toBe(401);
    expect(await bare()).toBe(200);
  });
});

test('while the database is away a key that was used reads the metrics, another is 503, and API_KEY goes on', async () => {
  await using postgres = await startOwnPostgres();
  await using guarded = await startWillow({ DATABASE_URL: postgres.url, ROLES: 'api', API_KEY: adminKey });
  const scraper = await makeKey(guarded, ['metrics:read', 'presence:read']);
  const stranger = await makeKey(guarded, ['metrics:read']);
  expect(await statusOf(guarded, scraper.key, '/metrics')).toBe(200);
  await postgres.kill();
  const diedAtMs = performance.now();
  // Beyond the second for which it needs no database.
  await until('two seconds later', async () => {
    expect(await statusOf(guarded, scraper.key, '/metrics')).toBe(200);
    return performance.now() - diedAtMs > 2 * believedMsMax;
  });
  expect(await statusOf(guarded, stranger.key, '/metrics')).toBe(503);
  expect(await statusOf(guarded, mintKey().key, '/metrics')).toBe(503);
  expect(await statusOf(guarded, withOtherSecret(scraper.key), '/metrics')).toBe(401);
  expect(await statusOf(guarded, scraper.key, '/audit')).toBe(403);
  expect(await statusOf(guarded, scraper.key)).toBe(503);
  expect(await statusOf(guarded, adminKey, '/metrics')).toBe(200);
  (await postgres.restart()).open();
  await until('the stranger is known again', async () => (await statusOf(guarded, stranger.key, '/metrics')) === 200);
});

test('no key, and no part of its secret, is ever in a log, a metric or a list', async () => {
  const made = [await makeKey(willow, ['presence:read']), await makeKey(willow, ['keys:admin'])];
  const [reader, admin] = made as [KeyBody, KeyBody];
  await statusOf(willow, reader.key);
  await statusOf(willow, `${reader.key}x`);
  await statusOf(willow, reader.key, '/metrics');
  await sendTo(willow)('DELETE', `/keys/${reader.id}`, { key: admin.key });
  await statusOf(willow, reader.key);
  const metrics = await (await fetch(`${willow.http}/metrics`, { headers: bearer(adminKey) })).text();
  const { items } = await readPagesAs(admin.key, '/audit');
  const texts = [willow.child.lines.join('\n'), other.child.lines.join('\n'), metrics, JSON.stringify(items)];
  expect(willow.log().some(({ event }) => event === 'request.answered')).toBe(true);
  for (const { key } of made) {
    for (const part of [key, key.slice(24, 40), key.slice(-16), adminKey]) {
      for (const text of texts) expect(text.includes(part)).toBe(false);
    }
  }
});

function readPagesAs(key: string, path: string) {
  return readPages<unknown>(`${willow.http}${path}`, 1_000, bearer(key));
}
