// A request that is sent again under its Idempotency-Key gets the same answer, and nothing is done twice.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { SessionId, UserId } from '../../src/core/ids.ts';
import { commit } from '../../src/store/commit.ts';
import { DoneBeforeError, openPool } from '../../src/store/database.ts';
import { claimOnce, onceTrimRowsMax, trimOnce } from '../../src/store/idempotency.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { call } from '../support/http.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { ask } from '../support/prepared.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

let mosquitto: Mosquitto;
let database: TestDatabase;
let willow: Willow;
let other: Willow;

beforeAll(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
  const start = (environment: Record<string, string> = {}) =>
    startWillow({
      MQTT_URL: mosquitto.url,
      DATABASE_URL: database.url,
      GRACE_MS: '0',
      API_KEY: apiKey,
      ...environment,
    });
  [willow, other] = await Promise.all([start(), start()]);
});

afterAll(async () => {
  for (const one of [willow, other, database, mosquitto]) await one[Symbol.asyncDispose]();
});

const apiKey = 'a-key-of-some-length';
const headers = { authorization: `Bearer ${apiKey}` };
const key = () => randomUUID();

async function eventsOf(userId: string): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ type: string }>(
    'select type from events where user_id = $1 order by sequence',
    [userId],
  );
  return rows.map(({ type }) => type);
}

async function auditedCount(userId: string): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    `select count(*)::int from audit where target = $1 and action = 'session.prepared'`,
    [`user:${userId}`],
  );
  return rows[0]?.count ?? 0;
}

const started = ['session.started', 'user.online'];

describe.each([true, false])('live: %s', (live) => {
  const expected = live ? started : [];

  test('the same request gives the same answer, byte for byte, from another process too, and is done once', async () => {
    const userId = `same-${live}`;
    const one = { body: { live, device: { os: 'ios' } }, key: key(), headers };
    const first = await ask(willow, userId, one);
    expect(first.status).toBe(201);
    for (const process of [willow, other, willow]) {
      const again = await ask(process, userId, one);
      expect(again.status).toBe(201);
      expect(again.body).toEqual(first.body);
    }
    expect(await eventsOf(userId)).toEqual(expected);
    expect(await auditedCount(userId)).toBe(1);
  });

  test('forty at once, in two processes, are one', async () => {
    const userId = `crowd-${live}`;
    const one = { body: { live }, key: key(), headers };
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => ask(index % 2 === 0 ? willow : other, userId, one)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(await eventsOf(userId)).toEqual(expected);
    expect(await auditedCount(userId)).toBe(1);
  });
});

test('a session that has ended since is not made live again', async () => {
  const one = { body: { live: true }, key: key(), headers };
  const first = await ask(willow, 'ended', one);
  await call(`${willow.http}/users/ended/sessions`, { method: 'DELETE', headers });
  expect((await ask(willow, 'ended', one)).body).toEqual(first.body);
  expect(await eventsOf('ended')).toEqual([...started, 'session.ended', 'user.offline']);
});

describe('the key with another request', () => {
  const asked = { sessionId: 'phone', device: { os: 'ios' }, leaseMs: 5_000, live: false };
  const others: Record<string, [user: string, body: object]> = {
    'another user': ['reused2', asked],
    'another session': ['reused', { ...asked, sessionId: 'tablet' }],
    'another device': ['reused', { ...asked, device: { os: 'android' } }],
    'another lease': ['reused', { ...asked, leaseMs: 5_001 }],
    'live now': ['reused', { ...asked, live: true }],
    less: ['reused', {}],
  };
  const shared = key();

  test.each(Object.entries(others))('is refused: %s', async (_name, [userId, body]) => {
    expect((await ask(willow, 'reused', { body: asked, key: shared, headers })).status).toBe(201);
    const answer = await ask(other, userId, { body, key: shared, headers });
    expect(answer).toMatchObject({ status: 422, body: { type: 'urn:willow:problem:idempotency-key-reused' } });
    expect(await eventsOf(userId)).toEqual([]);
  });
});

test('the keys of another caller are others', async () => {
  const { body } = await call<{ key: string }>(`${willow.http}/keys`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'another', scopes: ['sessions:write'] }),
  });
  const shared = key();
  const mine = await ask(willow, 'callers', { key: shared, headers });
  const theirs = await ask(willow, 'callers2', { key: shared, headers: { authorization: `Bearer ${body.key}` } });
  expect([mine.status, theirs.status]).toEqual([201, 201]);
  expect(theirs.body.sessionId).not.toBe(mine.body.sessionId);
});

test.each([
  ['empty', ''],
  ['of 256 characters', 'x'.repeat(256)],
  ['with a blank', 'a b'],
  ['with a character beyond ASCII', 'ä'],
])('a key %s is refused by name', async (_name, bad) => {
  const answer = await ask(willow, 'bad-key', { key: bad, headers });
  expect(answer).toMatchObject({
    status: 400,
    body: { type: 'urn:willow:problem:bad-input', errors: [{ in: 'header', name: 'idempotency-key' }] },
  });
});

test('a key of 255 characters, and every visible one, is taken', async () => {
  const visible = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index)).join('');
  for (const good of ['x'.repeat(255), visible]) {
    expect((await ask(willow, 'good-key', { key: good, headers })).status).toBe(201);
  }
});

describe('a process that dies', () => {
  const pool = () => openPool(database.url, { connectionsMax: 2, statementMsMax: 30_000, onError: () => undefined });
  const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };

  test('between the row and what it is for, leaves it to the next request', async () => {
    const shared = key();
    // Everything of a first request, up to the moment at which it would have been done.
    const first = await ask(willow, 'half-done', { body: { sessionId: 'phone', live: true }, key: shared, headers });
    await database.pool.query('update idempotency set done = false, session_id = $2 where key = $1', [shared, 'phone']);
    await database.pool.query(`delete from events where user_id = 'half-done'`);
    await database.pool.query(`delete from sessions where user_id = 'half-done'`);
    await database.pool.query(`delete from users where user_id = 'half-done'`);
    const again = await ask(other, 'half-done', { body: { sessionId: 'phone', live: true }, key: shared, headers });
    expect(again.body).toEqual(first.body);
    expect(await eventsOf('half-done')).toEqual(started);
  });

  test('is killed in the middle of the transaction: what is asked again is done, and once', async () => {
    await using opened = new AsyncDisposableStack();
    const doomed = opened.use(
      await startWillow({
        MQTT_URL: mosquitto.url,
        DATABASE_URL: database.url,
        API_KEY: apiKey,
        MQTT_CLIENT_ID: 'doomed',
      }),
    );
    const holder = await database.pool.connect();
    opened.defer(() => holder.release());
    await holder.query('begin');
    await holder.query('update log_head set position = position');
    const one = { body: { live: true }, key: key(), headers };
    const asked = ask(doomed, 'killed', one).catch(() => null);
    await until('the write to wait', async () => {
      const { rows } = await database.pool.query<{ count: number }>(
        `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%once as%'`,
      );
      return (rows[0]?.count ?? 0) > 0;
    });
    await doomed.child.end('SIGKILL');
    await holder.query('commit');
    await asked;
    const answers = [await ask(willow, 'killed', one), await ask(other, 'killed', one)];
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(answers[0]?.body).toEqual(answers[1]?.body);
    expect(await eventsOf('killed')).toEqual(started);
    expect(await auditedCount('killed')).toBe(1);
  });

  test('what is done is not done by who comes late: nothing of it is written', async () => {
    await using opened = new AsyncDisposableStack();
    const direct = pool();
    opened.defer(() => direct.end());
    const once = { caller: 'loopback', key: key() } as const;
    const [userId, sessionId] = [UserId.parse('late'), SessionId.parse('phone')];
    const claim = { userId, sessionId, issuedAtSeconds: 1, digest: Buffer.alloc(32) };
    expect(await claimOnce(direct, once, claim, null)).toEqual({ sessionId, issuedAtSeconds: 1, isDone: false });
    const audit = { actor: 'loopback', action: 'session.prepared', target: 'user:late', detail: {} } as const;
    const write = () =>
      commit(
        direct,
        [
          {
            signal: { kind: 'prepare', userId, sessionId, device: null, leaseMs: null, keyId: 'k' },
            nowMs: Date.now(),
            lapseUntilMs: null,
            receipt: null,
            mayBeCommitted: false,
            audit: { ...audit, target: 'user:late' as `user:${UserId}` },
            once,
          },
        ],
        (user, signal, moment) => decide(user, signal, moment, rules),
        null,
      );
    await write();
    await expect(write()).rejects.toThrow(DoneBeforeError);
    expect(await claimOnce(direct, once, claim, null)).toEqual({ sessionId, issuedAtSeconds: 1, isDone: true });
    expect(await auditedCount('late')).toBe(1);
    const { rows } = await database.pool.query<{ unheard: boolean }>(
      `select unheard from sessions where user_id = 'late'`,
    );
    expect(rows).toEqual([{ unheard: true }]);
  });
});

test('an answer that was lost on its way is asked for again: no second session is made', async () => {
  const upstream = new URL(willow.http);
  let lost = 0;
  // Passes the request on, and drops the first answer.
  const proxy = createServer((request, response) => {
    const passed = fetch(`${upstream.origin}${request.url}`, {
      method: 'POST',
      headers: request.headers as Record<string, string>,
    });
    void passed.then(async (answer) => {
      if (lost++ === 0) response.destroy();
      else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
    });
  }).listen(0, '127.0.0.1');
  await until('the proxy', () => proxy.listening);
  const through = { http: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
  const one = { key: key(), headers };
  await expect(ask(through, 'lost-answer', one)).rejects.toThrow();
  expect((await ask(through, 'lost-answer', one)).status).toBe(201);
  proxy.close();
  expect(lost).toBe(2);
  expect(await auditedCount('lost-answer')).toBe(1);
});

test('after a day a key is free again, also before it is trimmed; what is older is trimmed in batches', async () => {
  const shared = key();
  const first = await ask(willow, 'day', { key: shared, headers });
  const age = (hours: string) =>
    database.pool.query(`update idempotency set at = clock_timestamp() - $2::interval where key = $1`, [shared, hours]);
  await age('23 hours 59 minutes');
  expect((await ask(willow, 'day', { key: shared, headers })).body).toEqual(first.body);
  await age('24 hours 1 minute');
  const next = await ask(willow, 'another-day', { key: shared, headers });
  expect(next.status).toBe(201);
  expect(next.body.sessionId).not.toBe(first.body.sessionId);

  await database.pool.query(
    `insert into idempotency (caller, key, digest, user_id, session_id, issued_at, done, at)
     select 'loopback', 'old-' || n, '', 'u', 's', 0, true, clock_timestamp() - interval '25 hours' from generate_series(1, $1) n`,
    [onceTrimRowsMax + 5],
  );
  expect(await trimOnce(database.pool)).toBe(onceTrimRowsMax);
  expect(await trimOnce(database.pool)).toBe(5);
  expect(await trimOnce(database.pool)).toBe(0);
  expect((await ask(willow, 'another-day', { key: shared, headers })).body).toEqual(next.body);
});

test('no ticket, and nothing that signs one, is kept', async () => {
  const { body } = await ask(willow, 'kept', { key: key(), headers });
  const [, , signature = ''] = body.will.payload.ticket.split('.');
  const { rows } = await database.pool.query<{ row: string }>(
    `select i::text as row from idempotency i where user_id = 'kept'`,
  );
  expect(rows).toHaveLength(1);
  expect(rows[0]?.row).not.toContain(signature);
  expect(rows[0]?.row).not.toContain('eyJ');
});
