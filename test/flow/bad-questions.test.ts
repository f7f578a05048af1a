// What nobody should ask is answered with the documented problem, and with a sentence that names what is wrong: by the running service, on
// every list and on every call with a body.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ProblemType, problemTypes } from '../../src/http/problems.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { call, type ProblemBody } from '../support/http.ts';
import { startWillow, type Willow } from '../support/willow.ts';

const opened = new AsyncDisposableStack();
let database: TestDatabase;
let willow: Willow;
/** With a database of its own, in which the same was done. */
let elsewhere: Willow;

beforeAll(async () => {
  database = opened.use(await createDatabase());
  const other = opened.use(await createDatabase());
  // Those of the tests are copies of one.
  await other.pool.query('update deployment set id = gen_random_uuid()');
  willow = opened.use(await startWillow({ DATABASE_URL: database.url, ROLES: 'api' }));
  elsewhere = opened.use(await startWillow({ DATABASE_URL: other.url, ROLES: 'api' }));
  await populate(willow, database);
  await populate(elsewhere, other);
});

afterAll(() => opened.disposeAsync());

/** Two of everything that is listed. */
async function populate({ http }: Willow, { pool }: TestDatabase): Promise<void> {
  for (const each of ['one', 'two']) {
    for (const user of ['42', '43'])
      await send(http, 'POST', `/users/${user}/sessions`, { sessionId: each, live: true });
    await send(http, 'POST', '/webhooks', { url: `https://example.com/${each}`, enabled: false });
    await send(http, 'POST', '/keys', { name: each, scopes: ['presence:read'] });
    await pool.query(`insert into quarantine (received_at, topic, payload, payload_bytes, reason, detail)
      values (now(), '/logout', '', 0, 'no-user-id', '')`);
  }
  // By names that are known before.
  await pool.query('update endpoints set id = right(url, 3)');
  for (const hook of ['one', 'two']) {
    await pool.query(
      `insert into attempts (endpoint_id, webhook_id, count, at, duration_ms, outcome)
       select $1, '', 1, now(), 1, outcome from unnest(array['failed', 'failed', 'delivered', 'delivered']) outcome`,
      [hook],
    );
    await pool.query(
      `insert into parked (endpoint_id, position, event, reason, parked_at, attempts)
       select $1, n, '{"device":null,"at":0,"atMs":0}', 'refused', now(), 3 from generate_series(1, 2) n`,
      [hook],
    );
  }
}

async function send(http: string, method: string, path: string, body: unknown, headers: object = {}) {
  return call<ProblemBody & { readonly errors?: readonly object[] }>(`${http}${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

type Refusal = readonly [type: ProblemType, detail: RegExp];

async function expectRefused(answer: Awaited<ReturnType<typeof send>>, [type, detail]: Refusal): Promise<void> {
  const { status, title } = problemTypes[type];
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  expect(answer).toMatchObject({ status, body: { type: `urn:willow:problem:${type}`, title, status } });
  expect(answer.body.detail).toMatch(detail);
}

const ask = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  call<ProblemBody>(`${willow.http}${path}`, { headers });

/** Each list, and the same list asked for something else. */
const lists: readonly (readonly [list: string, another: string | null])[] = [
  ['/users/42/sessions', '/users/43/sessions'],
  ['/users/42/events', '/users/43/events'],
  ['/events', '/events?type=user.online'],
  ['/events?type=user.online', '/events?type=session.started'],
  ['/events?user=42', '/events?user=43'],
  ['/presence', '/presence?status=online'],
  ['/presence?sessions=true', '/presence?sessions=false'],
  ['/webhooks', null],
  ['/webhooks/one/attempts', '/webhooks/two/attempts'],
  ['/webhooks/one/attempts?outcome=failed', '/webhooks/one/attempts?outcome=delivered'],
  ['/webhooks/one/parked', '/webhooks/two/parked'],
  ['/keys', null],
  ['/audit?actor=loopback', '/audit'],
  ['/quarantine?reason=no-user-id', '/quarantine'],
];

const and = (path: string, query: string) => `${path}${path.includes('?') ? '&' : '?'}${query}`;

async function cursorOf({ http }: Willow, list: string): Promise<string> {
  const { status, body } = await call<{ nextCursor: string | null }>(`${http}${and(list, 'limit=1')}`);
  if (status !== 200 || body.nextCursor === null) throw new Error(`${list} has no second page: ${status}`);
  return body.nextCursor;
}

describe.each(lists)('%s', (list, another) => {
  const badCursor: Refusal = ['bad-cursor', /not given by this list, or not to this question/u];

  test('goes on with its own cursor, and with no other', async () => {
    const cursor = await cursorOf(willow, list);
    expect((await ask(and(list, `cursor=${cursor}`))).status).toBe(200);
    const middle = Math.floor(cursor.length / 2);
    const bad = {
      garbage: 'tomorrow',
      'JSON of somebody': Buffer.from('{"after":0}').toString('base64url'),
      'what is no base64': '%00%F0%9F%A6%89',
      nothing: '',
      cut: cursor.slice(0, -4),
      lengthened: `${cursor}AAAA`,
      altered: `${cursor.slice(0, middle)}${cursor[middle] === 'A' ? 'B' : 'A'}${cursor.slice(middle + 1)}`,
      'in other letters': cursor.replaceAll(/[a-z]/g, (letter) => letter.toUpperCase()),
      'very long': 'A'.repeat(8_000),
      'of another list': await cursorOf(willow, list === '/keys' ? '/webhooks' : '/keys'),
      'of another deployment': await cursorOf(elsewhere, list),
      ...(another !== null && { 'of another question': await cursorOf(willow, another) }),
    };
    for (const [what, text] of Object.entries(bad)) {
      const answer = await ask(and(list, `cursor=${text}`));
      expect([what, answer.status]).toEqual([what, 400]);
      await expectRefused(answer, badCursor);
    }
    await expectRefused(await ask(and(list, `cursor=${cursor}&cursor=${cursor}`)), [
      'bad-input',
      /cursor must be given once/u,
    ]);
  });

  test.each(['0', '-1', '1000000000', '1001', '1e2', '1.5', '', 'ten', '+1', '0x10'])(
    'a limit of %j is told what a limit is',
    async (limit) => {
      const answer = await ask(and(list, `limit=${encodeURIComponent(limit)}`));
      await expectRefused(answer, ['bad-input', /^the query parameter limit must be a whole number from 1 to 1000$/u]);
      expect(answer.body).toMatchObject({ errors: [{ in: 'query', name: 'limit' }] });
    },
  );

  test('a parameter that it does not know is named', async () => {
    await expectRefused(await ask(and(list, 'page=2')), ['bad-input', /^the query parameter page is not known$/u]);
  });
});

const calls: readonly (readonly [method: string, path: string])[] = [
  ['POST', '/presence/query'],
  ['POST', '/users/42/sessions'],
  ['POST', '/webhooks'],
  ['PATCH', '/webhooks/one'],
  ['POST', '/webhooks/one/replay'],
  ['POST', '/webhooks/one/rotate'],
  ['POST', '/keys'],
];

describe.each(calls)('%s %s', (method, path) => {
  const notThis: Refusal = ['bad-body', /^the body must be (?:a JSON object|empty)/u];

  test.each<[what: string, body: unknown, refusal: Refusal]>([
    ['an array', [], notThis],
    ['an array of objects', [{}], notThis],
    ['a number', 42, notThis],
    ['a text', 'text', notThis],
    ['true', true, notThis],
    ['a field that nobody knows', { nonsense: 1 }, ['bad-body', /the field nonsense is not known/u]],
    ['JSON that is cut', '{"name": ', ['bad-request', /not valid JSON/u]],
    ['what is no JSON', 'name=billing', ['bad-request', /not valid JSON/u]],
    [
      '10 MB of JSON',
      JSON.stringify({ nonsense: 'x'.repeat(10_000_000) }),
      ['body-too-large', /^a body has at most \d+ bytes here$/u],
    ],
  ])('%s is refused', async (_what, body, refusal) => {
    const text = typeof body === 'string' && refusal === notThis ? JSON.stringify(body) : body;
    await expectRefused(await send(willow.http, method, path, text), refusal);
  });

  test('a body of another type is told which it may have', async () => {
    const answer = await send(willow.http, method, path, '<name/>', { 'content-type': 'application/xml' });
    await expectRefused(answer, ['unsupported-media-type', /application\/json/u]);
  });
});

describe('a moment, a place or a type that there is not', () => {
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
  const at = '/users/42/presence?at=';
  const noTime: Refusal = ['bad-input', /^the query parameter at must be one time in ISO 8601/u];
  const noPosition: Refusal = ['bad-input', /^the query parameter after must be a position of the log/u];
  const noType: Refusal = ['bad-input', /^the query parameter type must be of session\.started, [^;]*$/u];

  test.each<[what: string, path: string, refusal: Refusal]>([
    ['a time in the future', `${at}${inAnHour}`, ['bad-input', /^the query parameter at must not be in the future$/u]],
    ['a time beyond all times', `${at}+275760-09-14T00:00:00Z`, noTime],
    ['the year 10,000', `${at}%2B010000-01-01T00:00:00Z`, noTime],
    ['a time before time', `${at}-000001-01-01T00:00:00Z`, noTime],
    ['the year 0', `${at}0000-01-01T00:00:00Z`, ['events-gone', /^what was is known from [\d-]{10}T[\d:.]{12}Z on$/u]],
    ['a time before retention', `${at}1970-01-01T00:00:00Z`, ['events-gone', /^what was is known from /u]],
    ['no time at all', `${at}yesterday`, noTime],
    ['nothing', at, noTime],
    ['a number', `${at}1795421999000`, noTime],
    ['a day', `${at}2026-11-23`, noTime],
    ['a time without an offset', `${at}2026-11-23T08:00:00`, noTime],
    ['a day that there is not', `${at}2026-02-30T08:00:00Z`, noTime],
    ['a plus that a URL makes a blank', `${at}2026-11-23T08:00:00+01:00`, noTime],
    ['two times', `${at}2026-11-23T08:00:00Z&at=2026-11-23T08:00:00Z`, noTime],
    ['a position that is none', '/events?after=first', noPosition],
    ['a position below 0', '/events?after=-1', noPosition],
    ['a position of sixteen digits', '/events?after=1000000000000000', noPosition],
    [
      'a position ahead of the log',
      '/events?after=1000',
      ['bad-input', /after must not be beyond the end of the log, which is \d+$/u],
    ],
    [
      'a stream from ahead of the log',
      '/events/stream?after=1000',
      ['bad-input', /after must not be beyond the end of the log/u],
    ],
    ['a type that there is not', '/events?type=user.gone', noType],
    ['an empty type', '/events?type=', noType],
    ['two types that there are not', '/events?type=user.gone,user.back', noType],
    ['a stream of a type that there is not', '/events/stream?type=user.gone', noType],
    ['an empty user', '/events?user=', ['bad-input', /^the query parameter user is empty$/u]],
    [
      'a user of 257 characters',
      `/events?user=${'x'.repeat(257)}`,
      ['bad-input', /user is longer than 256 characters$/u],
    ],
    ['a stream by pages', '/events/stream?limit=1', ['bad-input', /limit is not known$/u]],
    [
      'a status that there is not',
      '/presence?status=away',
      ['bad-input', /^the query parameter status must be online or offline/u],
    ],
    [
      'sessions that are perhaps wanted',
      '/presence?sessions=1',
      ['bad-input', /^the query parameter sessions must be true or false/u],
    ],
    ['counts of something', '/presence/counts?status=online', ['bad-input', /status is not known$/u]],
  ])('%s', async (_what, path, refusal) => {
    await expectRefused(await ask(path), refusal);
  });

  test.each([
    ['1000', /^the header parameter Last-Event-ID must not be beyond the end of the log, which is \d+$/u],
    ['-1', /^the header parameter last-event-id must be a position of the log/u],
    ['whe_1', /^the header parameter last-event-id must be a position of the log/u],
    ['9'.repeat(400), /^the header parameter last-event-id must be a position of the log/u],
  ])('a Last-Event-ID of %s is refused before the stream begins', async (id, detail) => {
    await expectRefused(await ask('/events/stream', { 'last-event-id': id }), ['bad-input', detail]);
  });
});

describe('a question about many', () => {
  const ids = (count: number) => Array.from({ length: count }, (_, index) => `user-${index}`);
  const notSo: Refusal = ['bad-body', /^the field userIds must be a list of 1 to 1000 ids$/u];

  test.each<[what: string, body: unknown, refusal: Refusal]>([
    ['of 1,001 ids', { userIds: ids(1_001) }, notSo],
    ['of none', { userIds: [] }, notSo],
    ['of one that is no list', { userIds: '42' }, notSo],
    ['without its ids', {}, notSo],
    ['with an id that is a number', { userIds: ['42', 43] }, ['bad-body', /^the field userIds\/1 /u]],
    ['with an id that is empty', { userIds: [''] }, ['bad-body', /^the field userIds\/0 is empty$/u]],
    [
      'with an id of 257 characters',
      { userIds: ['x'.repeat(257)] },
      ['bad-body', /userIds\/0 is longer than 256 characters$/u],
    ],
    ['with a control character', { userIds: ['a\u0000'] }, ['bad-body', /userIds\/0 has a control character/u]],
  ])('%s', async (_what, body, refusal) => {
    await expectRefused(await send(willow.http, 'POST', '/presence/query', body), refusal);
  });

  test('of 1,000 ids is answered', async () => {
    const { status, body } = await call<{ data: unknown[] }>(`${willow.http}/presence/query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ userIds: ids(1_000) }),
    });
    expect([status, body.data.length]).toEqual([200, 1_000]);
  });
});

test('a type that is named again and again is that type, and no other', async () => {
  const types = Array.from({ length: 4 }, () => 'user.online').join(',');
  const { body } = await call<{ data: { type: string }[] }>(`${willow.http}/events?type=${types}`);
  expect(new Set(body.data.map(({ type }) => type))).toEqual(new Set(['user.online']));
});
