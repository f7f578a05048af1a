import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { trim } from '../support/endpoints.ts';
import { call, type ProblemBody, readPages } from '../support/http.ts';
import { secretKey, startWillow, type Willow } from '../support/willow.ts';

// Nothing is sent here: the process that answers has no other role.
let database: TestDatabase;
let willow: Willow;

beforeAll(async () => {
  database = await createDatabase();
  willow = await startWillow({ DATABASE_URL: database.url, ROLES: 'api' });
});
afterAll(async () => {
  await willow[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

type WebhookBody = {
  readonly id: string;
  readonly url: string;
  readonly status: string;
  readonly disabledReason: string | null;
  readonly lag: { readonly position: number; readonly head: number; readonly events: number };
  readonly previousSecretUntil: string | null;
  readonly secret?: string;
};

function send<Body = WebhookBody>(method: string, path: string, body?: unknown) {
  const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body ?? {}) };
  return call<Body>(`${willow.http}/webhooks${path}`, { method, ...(method !== 'GET' && method !== 'DELETE' && json) });
}

const url = 'https://example.com/hook';

test('a webhook is made, read, changed, listed and removed', async () => {
  const made = await send('POST', '', { url, description: 'billing', events: ['user.offline'], lanes: 2 });
  expect(made.status).toBe(201);
  const { secret, ...shown } = made.body;
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(made.headers.get('location')).toBe(`/webhooks/${shown.id}`);
  expect(shown).toMatchObject({ url, status: 'enabled', description: 'billing', lanes: 2, maxBatch: 1 });
  expect(await send('GET', `/${shown.id}`)).toMatchObject({ status: 200, body: shown });
  const changed = await send('PATCH', `/${shown.id}`, { enabled: false, maxBatch: 5, events: null });
  expect(changed.body).toMatchObject({ status: 'disabled', disabledReason: 'paused', maxBatch: 5, events: null });
  expect((await send('POST', `/${shown.id}/enable`)).body).toMatchObject({ status: 'enabled', disabledReason: null });
  const { items } = await readPages<WebhookBody>(`${willow.http}/webhooks`, 2);
  expect(items.map(({ id }) => id)).toContain(shown.id);
  expect(JSON.stringify(items)).not.toContain('whsec_');
  expect((await send<null>('DELETE', `/${shown.id}`)).status).toBe(204);
  for (const [method, path] of [
    ['GET', ''],
    ['PATCH', ''],
    ['DELETE', ''],
    ['POST', '/enable'],
    ['POST', '/rotate'],
    ['GET', '/attempts'],
    ['GET', '/parked'],
    ['POST', '/parked/retry'],
    ['POST', '/parked/1/retry'],
  ] as const) {
    const gone = await send<ProblemBody>(method, `/${shown.id}${path}`);
    expect(gone, `${method} ${path}`).toMatchObject({
      status: 404,
      body: { type: 'urn:willow:problem:unknown-webhook' },
    });
  }
});

test('a rotation shows another secret, and until when the old one signs', async () => {
  const { body: made } = await send('POST', '', { url });
  const { body: rotated } = await send('POST', `/${made.id}/rotate`);
  expect(rotated.secret).toMatch(/^whsec_/);
  expect(rotated.secret).not.toBe(made.secret);
  const leftMs = Date.parse(rotated.previousSecretUntil ?? '') - Date.now();
  expect(leftMs).toBeGreaterThan(23.9 * 3_600_000);
});

test('a URL that may not be called is refused before anything is kept', async () => {
  const before = await readPages(`${willow.http}/webhooks`, 1_000);
  for (const bad of ['http://example.com/', 'https://u:p@example.com/', 'https://example.com:0/', 'nowhere']) {
    const refused = await send<ProblemBody>('POST', '', { url: bad });
    expect(refused).toMatchObject({ status: 422, body: { type: 'urn:willow:problem:bad-body' } });
    expect(refused.body.detail).toContain('the field url ');
  }
  expect((await readPages(`${willow.http}/webhooks`, 1_000)).items).toHaveLength(before.items.length);
});

describe('a replay', () => {
  test('goes back to a position or a time that the log has', async () => {
    await database.pool.query(
      `with head as (update log_head set position = position + 4 returning position - 4 as base)
       insert into events (position, user_id, sequence, type, session_id, at)
       select base + n, 'ann', n, 'user.online', 's', timestamptz '2026-11-23T08:00:00Z' + n * interval '1 hour'
       from head, generate_series(1, 4) n`,
    );
    const { body: made } = await send('POST', '', { url });
    const { head } = made.lag;
    expect(made.lag).toEqual({ position: head, head, events: 0 });
    const replay = (from: object) => send('POST', `/${made.id}/replay`, from);
    expect(await replay({ since: '2027-01-01T00:00:00Z' })).toMatchObject({
      status: 200,
      body: { lag: { events: 0 } },
    });
    expect(await replay({ since: '2026-11-23T11:00:01Z' })).toMatchObject({ body: { lag: { events: 1 } } });
    expect(await replay({ since: '2026-11-23T11:00:00Z' })).toMatchObject({ body: { lag: { events: 2 } } });
    expect(await replay({ after: head - 3 })).toMatchObject({ body: { lag: { events: 3 } } });
    expect(await replay({ since: '0000-01-01T00:00:00Z' })).toMatchObject({ body: { lag: { events: head } } });
    expect(await replay({ after: head + 1 })).toMatchObject({ status: 422 });
    expect(await replay({ after: Number.MAX_SAFE_INTEGER })).toMatchObject({ status: 422 });

    await trim(database.pool, 2);
    const problem = { status: 410, body: { type: 'urn:willow:problem:events-gone', after: 2 } };
    expect(await replay({ after: 1 })).toMatchObject(problem);
    expect(await replay({ since: '2026-11-23T08:00:00Z' })).toMatchObject(problem);
    expect(await send('POST', '', { url, after: 1 })).toMatchObject(problem);
    expect(await replay({ after: 2 })).toMatchObject({ status: 200, body: { lag: { position: 2 } } });
    await send('PATCH', `/${made.id}`, { enabled: false });
    await trim(database.pool, 3);
    const left = { status: 409, body: { type: 'urn:willow:problem:webhook-left-behind', after: 3 } };
    expect(await send('POST', `/${made.id}/enable`)).toMatchObject(left);
    expect(await send('PATCH', `/${made.id}`, { enabled: true })).toMatchObject(left);
  });
});

test('attempts and parked events are listed newest first, page by page; parked ones are retried one by one or all, or removed', async () => {
  const { body: made } = await send('POST', '', { url });
  const { body: other } = await send('POST', '', { url });
  const event = {
    position: 9,
    userId: 'ann',
    sequence: 1,
    type: 'user.offline',
    sessionId: 's',
    epoch: null,
    reason: 'will',
  };
  for (const { id } of [made, other]) {
    await database.pool.query(
      `insert into attempts (endpoint_id, webhook_id, first_position, last_position, count, at, duration_ms, outcome, status, body)
       select $1, $1 || '_' || n, n, n, 1, now(), 5, case n % 2 when 0 then 'failed' else 'refused' end, 422, 'no'
       from generate_series(1, 7) n`,
      [id],
    );
    await database.pool.query(
      `insert into parked (endpoint_id, position, event, reason, parked_at, attempts, status)
       select $1, n, $2::jsonb || jsonb_build_object('position', n), 'refused', now(), 3, 422 from generate_series(1, 5) n`,
      [id, JSON.stringify({ ...event, device: { os: 'ios' }, atMs: 1_795_421_999_000 })],
    );
  }
  const { items: attempts } = await readPages<{ firstPosition: number }>(
    `${willow.http}/webhooks/${made.id}/attempts`,
    3,
  );
  expect(attempts.map(({ firstPosition }) => firstPosition)).toEqual([7, 6, 5, 4, 3, 2, 1]);
  const { items: failed } = await readPages<{ firstPosition: number }>(
    `${willow.http}/webhooks/${made.id}/attempts?outcome=failed`,
    2,
  );
  expect(failed.map(({ firstPosition }) => firstPosition)).toEqual([6, 4, 2]);
  type ParkedBody = { id: number; event: { position: number }; retryAt: string | null };
  const listParked = async (id: string) =>
    (await readPages<ParkedBody>(`${willow.http}/webhooks/${id}/parked`, 2)).items;
  const parked = await listParked(made.id);
  expect(parked.map((one) => one.event.position)).toEqual([5, 4, 3, 2, 1]);
  const { atMs, ...shown } = { ...event, position: 5, device: { os: 'ios' }, at: '2026-11-23T08:19:59.000Z', atMs: 0 };
  expect(parked[0]).toMatchObject({ event: shown, retryAt: null });
  expect(parked[0]?.event).not.toHaveProperty('atMs', atMs);

  const retriedOf = async (id: string) => (await listParked(id)).filter(({ retryAt }) => retryAt !== null).length;
  const one = await send('POST', `/${made.id}/parked/${parked[2]?.id}/retry`);
  expect(one).toMatchObject({ status: 202, body: { retried: 1 } });
  expect(await retriedOf(made.id)).toBe(1);
  const [stranger] = await listParked(other.id);
  const foreign = await send('POST', `/${made.id}/parked/${stranger?.id}/retry`);
  expect(foreign).toMatchObject({ status: 404, body: { type: 'urn:willow:problem:unknown-parked' } });
  expect(await send('POST', `/${made.id}/parked/retry`)).toMatchObject({ status: 202, body: { retried: 5 } });
  expect([await retriedOf(made.id), await retriedOf(other.id)]).toEqual([5, 0]);

  const remove = (of: string, id: number | undefined) => send('DELETE', `/${of}/parked/${id}`);
  expect(await remove(made.id, stranger?.id)).toMatchObject({ status: 404 });
  expect((await remove(made.id, parked[2]?.id)).status).toBe(204);
  expect(await remove(made.id, parked[2]?.id)).toMatchObject({ status: 404 });
  expect((await listParked(made.id)).map((left) => left.event.position)).toEqual([5, 4, 2, 1]);
  expect(await listParked(other.id)).toHaveLength(5);
});

test('a newer key in front takes over at the start, and a secret that no key opens is named in the log', async () => {
  const { body: made } = await send('POST', '', { url });
  const newer = Buffer.alloc(32, 8).toString('base64url');
  const sealedOf = async () => {
    const { rows } = await database.pool.query<{ secret: Buffer }>('select secret from endpoints where id = $1', [
      made.id,
    ]);
    return rows[0]?.secret.toString('hex');
  };
  const before = await sealedOf();
  {
    await using both = await startWillow({
      DATABASE_URL: database.url,
      ROLES: 'api',
      SECRET_KEY: `${newer},${secretKey}`,
    });
    expect(await both.logged('secrets.resealed')).toMatchObject({ level: 'info' });
    expect(await sealedOf()).not.toBe(before);
  }
  await using old = await startWillow({ DATABASE_URL: database.url, ROLES: 'api' });
  const line = await old.logged('secrets.unreadable');
  expect(line['endpoints']).toContain(made.id);
  const tested = await call(`${old.http}/webhooks/${made.id}/test`, { method: 'POST' });
  expect(tested).toMatchObject({ status: 200, body: { outcome: 'failed', status: null } });
  expect(JSON.stringify(tested.body)).toContain('a key that SECRET_KEY does not have');
});

test('a process without a key lists and changes webhooks, and says why it makes none', async () => {
  const { body: made } = await send('POST', '', { url });
  await using keyless = await startWillow({ DATABASE_URL: database.url, ROLES: 'api', SECRET_KEY: '' });
  const at = (path: string) => `${keyless.http}/webhooks${path}`;
  const json = { headers: { 'content-type': 'application/json' } };
  const problem = { status: 501, body: { type: 'urn:willow:problem:no-secret-key' } };
  expect(await call(at(''), { method: 'POST', ...json, body: JSON.stringify({ url }) })).toMatchObject(problem);
  expect(await call(at(`/${made.id}/rotate`), { method: 'POST' })).toMatchObject(problem);
  const body = JSON.stringify({ maxBatch: 3 });
  expect(await call(at(`/${made.id}`), { method: 'PATCH', ...json, body })).toMatchObject({ body: { maxBatch: 3 } });
});
