// The pages of the problems show what the running service answers: each request is sent as it stands there, to a process in which it comes to that.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commonHeaders, type ProblemType } from '../../src/http/problems.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { documented } from '../support/documented.ts';
import { unframed } from '../support/framing.ts';
import { findFreePort } from '../support/free-port.ts';
import { call, type ProblemBody } from '../support/http.ts';
import { adminKey, makeKey, sendTo } from '../support/keys.ts';
import { answerIn, ownHeaders } from '../support/problem-pages.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

const opened = new AsyncDisposableStack();
let database: TestDatabase;
/** It wants keys. */
let guarded: Willow;
/** It wants none, has no SECRET_KEY, and reaches its database by way of a proxy. */
let keyless: Willow;
let proxy: TcpProxy<null>;
let home: string;
/** What the requests call by a name. */
const names: Record<string, string> = { API_KEY: adminKey };

beforeAll(async () => {
  database = opened.use(await createDatabase());
  proxy = opened.use(await startTcpProxy(Number(new URL(database.url).port), unframed));
  const through = databaseThrough(proxy.port, database.url);
  guarded = opened.use(await startWillow({ DATABASE_URL: database.url, ROLES: 'api', API_KEY: adminKey }));
  keyless = opened.use(await startWillow({ DATABASE_URL: through, ROLES: 'api', SECRET_KEY: '' }));
  home = await mkdtemp(join(tmpdir(), 'willow-problems-'));
  opened.defer(() => rm(home, { recursive: true }));
  names['METRICS_KEY'] = (await makeKey(guarded, ['metrics:read'])).key;
  names['WEBHOOK'] = await makePausedWebhook();
});

afterAll(() => opened.disposeAsync());

async function makePausedWebhook(): Promise<string> {
  const body = { url: 'https://example.com/hook', enabled: false };
  return (await sendTo(guarded)<{ id: string }>('POST', '/webhooks', { body })).body.id;
}

/** As far as retention has come. */
const trimmed = () => database.pool.query('update log_head set position = 5, trimmed = 3');

const fill = (table: string, columns: string, values: string) =>
  database.pool.query(`insert into ${table} (${columns}) select ${values} from generate_series(1, 1000) n`);

const isNotReady = async () => (await call(`${keyless.http}/readyz`)).status === 503;

/** Requests that the database keeps waiting, until one more is refused. */
async function crowd(): Promise<void> {
  proxy.pointTo(Number(new URL(database.url).port));
  await until('the database is back', async () => !(await isNotReady()));
  proxy.hold();
  const port = Number(new URL(keyless.http).port);
  const read = 'GET /users/42/presence HTTP/1.1\r\nHost: localhost\r\n\r\n';
  await until('too much to do', async () => {
    for (let count = 0; count < 130; count += 1) {
      const socket: Socket = connect(port, '127.0.0.1', () => socket.write(read.repeat(16)));
      socket.on('error', () => undefined);
      socket.resume();
      opened.defer(() => void socket.destroy());
    }
    const signal = AbortSignal.timeout(1_000);
    const answer = await call<ProblemBody>(`${keyless.http}/users/42/presence`, { signal }).catch(() => null);
    return answer?.body.detail === 'there is too much to do right now';
  });
}

async function cutOff(): Promise<void> {
  proxy.pointTo(await findFreePort());
  proxy.cut();
}

type World = {
  readonly willow: () => Willow;
  /** What has to be so before. */
  readonly given?: () => Promise<unknown>;
  /** What is another number each time. */
  readonly varies?: RegExp;
  /** There may be more in the answer than the page shows. */
  readonly mayHaveMore?: true;
};

const withKeys: World = { willow: () => guarded };
const withoutKeys: World = { willow: () => keyless };

/** In this order: the last of them leave their process in need of a rest. */
const worlds: Readonly<Record<Exclude<ProblemType, 'request-timeout' | 'too-many-streams'>, World>> = {
  'bad-request': withKeys,
  'bad-input': withKeys,
  'bad-cursor': withKeys,
  unauthorized: withKeys,
  'host-not-allowed': withoutKeys,
  'origin-not-allowed': withoutKeys,
  'missing-scope': withKeys,
  'not-found': withKeys,
  'unknown-session': withKeys,
  'unknown-webhook': withKeys,
  'unknown-parked': withKeys,
  'unknown-key': withKeys,
  'unknown-message': withKeys,
  'method-not-allowed': withKeys,
  'webhook-left-behind': { ...withKeys, given: trimmed },
  'events-gone': { ...withKeys, given: trimmed },
  'body-too-large': withKeys,
  'url-too-long': withKeys,
  'unsupported-media-type': withKeys,
  'expectation-failed': withKeys,
  'bad-body': withKeys,
  'too-many-sessions': {
    ...withKeys,
    given: async () => {
      await database.pool.query(`insert into users (user_id, revision, sequence) values ('hall', 1, 0)`);
      const columns = 'user_id, session_id, status, started_at, last_seen_at';
      await fill('sessions', columns, `'hall', 's' || n, 'online', now(), now()`);
    },
  },
  'session-unheard': withKeys,
  'idempotency-key-reused': withKeys,
  'headers-too-large': withKeys,
  'no-secret-key': withoutKeys,
  'too-many-requests': { ...withKeys, varies: /(?<=retry-after: )\d+/iu },
  'too-many-webhooks': {
    ...withKeys,
    given: () =>
      fill(
        'endpoints',
        'id, url, lanes, max_batch, secret, created_at, updated_at',
        `'whe_' || n, '', 1, 1, '', now(), now()`,
      ),
  },
  'too-many-keys': {
    ...withKeys,
    given: () => fill('api_keys', 'id, name, scopes, digest, created_at', `n, '', '{}', '', now()`),
  },
  internal: { ...withKeys, given: () => database.pool.query('alter table quarantine rename to quarantine_aside') },
  'database-unavailable': { ...withoutKeys, given: cutOff },
  'not-ready': {
    ...withoutKeys,
    given: () => until('it is not ready', isNotReady),
    varies: /(?<="\w+Ms": ?)\d+/gu,
    mayHaveMore: true,
  },
  overloaded: { ...withoutKeys, given: crowd },
};

/** What `curl -i` shows, where the service listens on the port of the pages. */
async function run(script: string, { http }: Willow): Promise<string> {
  await writeFile(join(home, '.curlrc'), `connect-to = "localhost:8080:${new URL(http).host}"\n`);
  const env = { PATH: process.env['PATH'], CURL_HOME: home, ...names };
  const { stdout } = await promisify(execFile)('sh', ['-c', script], { env });
  return stdout;
}

test.each(Object.entries(worlds))(
  'the page of %s shows what is answered',
  async (type, { willow, given, varies, mayHaveMore }) => {
    await given?.();
    const shown = await run(documented(`docs/problems/${type}.md`, 'sh'), willow());
    const alike = (text: string) => (varies === undefined ? text : text.replaceAll(new RegExp(varies, 'giu'), '0'));
    const answer = answerIn(alike(shown));
    const page = answerIn(alike(documented(`docs/problems/${type}.md`, 'http')));
    const own = { ...answer, headers: ownHeaders(answer.headers, commonHeaders) };
    if (mayHaveMore) expect(own).toMatchObject(page);
    else expect(own).toEqual(page);
  },
);
