// Streams of a running process, with what goes wrong around them: keys that are removed, a database that goes away, users who are erased, the
// end of the process.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { eventBody, presenceBody } from '../../src/http/render.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { unframed } from '../support/framing.ts';
import { findFreePort } from '../support/free-port.ts';
import { call } from '../support/http.ts';
import { adminKey, makeKey, sendTo } from '../support/keys.ts';
import { writeEvents } from '../support/log-writers.ts';
import { openSse } from '../support/sse.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

type EventBody = ReturnType<typeof eventBody>;

const opened = new AsyncDisposableStack();
let database: TestDatabase;
let proxy: TcpProxy<null>;
let willow: Willow;
const bearer = { authorization: `Bearer ${adminKey}` };

beforeAll(async () => {
  database = opened.use(await createDatabase());
  proxy = opened.use(await startTcpProxy(Number(new URL(database.url).port), unframed));
  const through = databaseThrough(proxy.port, database.url);
  willow = opened.use(await startWillow({ DATABASE_URL: through, ROLES: 'api', API_KEY: adminKey }));
});
afterAll(() => opened.disposeAsync());

const openLog = (query = '', headers: Readonly<Record<string, string>> = bearer) =>
  openSse<EventBody>(`${willow.http}/events/stream${query}`, headers);
const tell = (...userIds: readonly string[]) => writeEvents(database.pool, userIds);
const positions = (messages: readonly { readonly id: string }[]) => messages.map(({ id }) => Number(id));
const follows = (last: number, first: number) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

test('a key that is removed ends the streams that it reads within seconds, and no others', async () => {
  const { id, key } = await makeKey(willow, ['events:read', 'presence:read']);
  const own = { authorization: `Bearer ${key}` };
  await using events = await openLog('', own);
  await using presence = await openSse(`${willow.http}/users/ada/presence/stream`, own);
  await using other = await openLog();
  expect([events.status, presence.status, other.status]).toEqual([200, 200, 200]);
  expect((await sendTo(willow)('DELETE', `/keys/${id}`)).status).toBe(204);
  await Promise.all([events.over(), presence.over()]);
  expect(events.closing()).toEqual({ reason: 'key' });
  expect(presence.closing()).toEqual({ reason: 'key' });
  await tell('ada');
  await other.messagesWhen(1);
});

test('streams outlive a database that goes away, and go on without a gap', async () => {
  await using reader = await openLog('?after=0');
  await tell('ada', 'ben');
  await until('the end of the log', async () => reader.messages.length >= 2);
  const pointAway = await findFreePort();
  proxy.pointTo(pointAway);
  proxy.cut();
  await until('the database is away', async () => {
    const answer = await call(`${willow.http}/events/stream`, { method: 'HEAD', headers: bearer });
    return answer.status === 503;
  });
  await tell('ada', 'ben', 'ada');
  proxy.pointTo(Number(new URL(database.url).port));
  await tell('ben');
  const { rows } = await database.pool.query<{ head: string }>('select position as head from log_head');
  const head = Number(rows[0]?.head);
  expect(positions(await reader.messagesWhen(head))).toEqual(follows(head, 1));
  expect(proxy.faults.cut).toBeGreaterThan(0);
});

test('a user who is erased is told of no more, and nobody is kept waiting at the hole', async () => {
  await tell('gone', 'ada', 'gone');
  const { status } = await call(`${willow.http}/users/gone`, { method: 'DELETE', headers: bearer });
  expect(status).toBe(204);
  await tell('ada');
  const { rows } = await database.pool.query<{ position: string }>('select position from events order by position');
  await using reader = await openLog('?after=0');
  expect(positions(await reader.messagesWhen(rows.length))).toEqual(rows.map(({ position }) => Number(position)));
  expect(reader.messages.map(({ data }) => data.userId)).not.toContain('gone');
});

test('a reader behind what retention has removed is told where to begin', async () => {
  await database.pool.query('update log_head set trimmed = 2');
  const { status, body } = await call(`${willow.http}/events?after=1`, { headers: bearer });
  expect({ status, body }).toMatchObject({ status: 410, body: { type: 'urn:willow:problem:events-gone', after: 2 } });
  await using reader = await openLog('?after=1');
  expect(reader.status).toBe(410);
  expect(JSON.parse(reader.body())).toMatchObject({ after: 2 });
});

test('the presence of a user is told with his events', async () => {
  type Presence = ReturnType<typeof presenceBody>;
  await using reader = await openSse<Presence>(`${willow.http}/users/cleo/presence/stream`, bearer);
  expect((await reader.messagesWhen(1))[0]?.data).toMatchObject({ userId: 'cleo', sequence: 0 });
  await tell('cleo');
  expect((await reader.messagesWhen(2))[1]?.data).toMatchObject({ userId: 'cleo', sequence: 1 });
});

test('a process that is stopped says so on every stream, at once', async () => {
  const readers = await Promise.all([openLog(), openLog('?user=ada'), openLog('?after=2')]);
  const fromMs = performance.now();
  willow.child.kill('SIGTERM');
  await Promise.all(readers.map((reader) => reader.over()));
  expect(performance.now() - fromMs).toBeLessThan(10_000);
  for (const reader of readers) expect(reader.closing()).toEqual({ reason: 'shutdown' });
});
