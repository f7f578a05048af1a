// docs/http.md and the code agree: the calls, who may make them, what they answer, and the problems.

import { globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { dearReads } from '../../src/app-reads.ts';
import { auditActions } from '../../src/core/audit.ts';
import type { ClientId, Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { badInput } from '../../src/http/failures.ts';
import { scopes } from '../../src/http/instance.ts';
import { NewKey } from '../../src/http/key-bodies.ts';
import { httpLimits } from '../../src/http/limits.ts';
import { parameterCharactersMax } from '../../src/http/parameters.ts';
import { rawResponse } from '../../src/http/problems.ts';
import {
  attemptBody,
  auditBody,
  countsBody,
  eventBody,
  keyBody,
  parkedBody,
  pastBody,
  preparedBody,
  presenceBody,
  quarantinedBody,
  sessionBody,
  webhookBody,
} from '../../src/http/render.ts';
import { bodyBytesMax } from '../../src/http/server.ts';
import { socketLimits } from '../../src/http/sockets.ts';
import { streamLimits } from '../../src/http/streams.ts';
import { newWebhook } from '../../src/http/webhook-bodies.ts';
import { attempt, hook, hooks, parked } from '../http/hook.ts';
import { apiKey } from '../http/keys.ts';
import { allRoutes } from '../support/route-table.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const page = read('docs/http.md');

/** The cells of the rows of the table below a heading, without its head. */
function rowsBelow(heading: string): string[][] {
  const [, section = ''] = page.split(`\n${heading}\n`);
  const [table = ''] = /(?:^\|.*\n)+/m.exec(section) ?? [];
  return table
    .split('\n')
    .slice(2, -1)
    .map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The example with a name: a block that opens with "json name". */
function example(name: string): unknown {
  const [, block = ''] = new RegExp(`\`\`\`json ${name}\n(.*?)\`\`\``, 's').exec(page) ?? [];
  return JSON.parse(block);
}

const plain = (text: string | undefined) => text?.replaceAll('`', '');
/** Of a cell that leads to a page of its own. */
const nameOf = (cell: string | undefined) => /^\[`(.*)`\]/u.exec(cell ?? '')?.[1];
const ms = (time: string) => Date.parse(`2026-11-23T${time}.000Z`);
const phone = {
  sessionId: 'phone' as SessionId,
  epoch: 1_795_421_999_000 as Epoch,
  forgottenEpoch: null,
  clientId: '42-phone' as ClientId,
  device: null,
  keyId: null,
  startedAtMs: ms('08:00:00'),
  lastSeenAtMs: ms('08:20:00'),
  isUnheard: false,
};

describe('the calls', () => {
  const documented = rowsBelow('## Calls').map(([call, scope]) => `${plain(call)} ${plain(scope)}`);
  const served = allRoutes()
    .filter(({ method }) => method !== 'HEAD')
    .map(({ method, url, scope }) => `${method} ${url} ${scope}`);

  test('are those that are served, with the scope that each needs', () => {
    expect(served.length).toBeGreaterThan(0);
    expect(new Set(documented)).toEqual(new Set(served));
  });

  test('are described one by one', () => {
    const described = [...page.matchAll(/^### (.*)$/gm)].flatMap(
      ([, heading = '']) => heading.match(/[A-Z]+ \/[\w/:.]+/g) ?? [],
    );
    expect(new Set(described)).toEqual(new Set(documented.map((call) => call.replace(/ \S+$/, ''))));
  });
});

describe('the examples are what the code renders', () => {
  test('presence', () => {
    const session = { ...phone, device: { model: 'Pixel 12' }, status: 'online' } as const;
    const presence = presenceBody({
      userId: '42' as UserId,
      status: 'online',
      sinceMs: ms('08:00:00'),
      lastSeenAtMs: ms('08:20:00'),
      sequence: 7,
      sessions: [session],
      asOfMs: ms('08:30:00'),
      isStale: false,
    });
    expect(JSON.stringify(presence, null, 2)).toBe(JSON.stringify(example('presence'), null, 2));
  });

  test('presence of many', () => {
    expect(Object.keys(example('presence-query') as object)).toEqual(['userIds']);
    const { sessions: _sessions, ...shown } = example('presence') as { sessions: unknown };
    expect(JSON.stringify(example('presence-queried'))).toBe(JSON.stringify({ data: [shown] }));
    expect(Object.keys(example('presence-page') as object)).toEqual(['data', 'nextCursor', 'position', 'head']);
    const asOfMs = ms('08:30:00');
    const counts = countsBody({ online: 2, lost: 1, sessions: 3, users: 5, asOfMs, isStale: false, position: 121 });
    expect(JSON.stringify(counts)).toBe(JSON.stringify(example('presence-counts')));
  });

  test('what was', () => {
    const then = { status: 'online', sinceMs: ms('08:00:00'), sequence: 7, atMs: ms('08:10:00') } as const;
    const past = pastBody({ userId: '42' as UserId, ...then });
    expect(JSON.stringify(past)).toBe(JSON.stringify(example('as-of')));
  });

  test('sessions', () => {
    const session = sessionBody({ ...phone, status: 'ended', endedAtMs: ms('08:20:05'), reason: 'will' });
    expect(JSON.stringify({ data: [session], nextCursor: null })).toBe(JSON.stringify(example('sessions')));
  });

  test('a prepared login', () => {
    const ticket = 'eyJhbGciOiJIUzI1NiIsImtpZCI6Ik…';
    const payload = { userId: 'ada', sessionId: 'phone', ticket };
    const prepared = preparedBody({
      kind: 'prepared',
      sessionId: phone.sessionId,
      expiresAtMs: ms('10:00:00') + 30 * 86_400_000,
      will: { topic: '/logout/ada', payload },
      birth: { topic: '/login/ada', payload: { device: { os: 'ios' }, ...payload } },
    });
    expect(JSON.stringify(prepared)).toBe(JSON.stringify(example('prepared')));
  });

  test('events', () => {
    const event = eventBody({
      position: 118,
      sequence: 8,
      type: 'session.ended',
      userId: '42' as UserId,
      sessionId: phone.sessionId,
      epoch: phone.epoch,
      reason: 'will',
      device: null,
      atMs: ms('08:20:05'),
    });
    expect(JSON.stringify({ data: [event], nextCursor: null })).toBe(JSON.stringify(example('events')));
    expect(JSON.stringify({ data: [event], nextCursor: null, position: 120 })).toBe(JSON.stringify(example('log')));
  });

  test('a new webhook', () => {
    const body = example('new-webhook') as { description: unknown; events: unknown; url: unknown };
    expect(newWebhook(() => null).parse(body)).toEqual(body);
    const defaults = { ...body, description: null, events: null };
    expect(newWebhook(() => null).parse({ url: body.url })).toEqual(defaults);
  });

  test('webhooks, attempts and what is parked', async () => {
    const secret = 'whsec_c2VjcmV0';
    const list = (item: unknown) => JSON.stringify({ data: [item], nextCursor: null });
    expect(JSON.stringify({ ...webhookBody(hook), secret })).toBe(JSON.stringify(example('webhook')));
    expect(list(attemptBody(attempt))).toBe(JSON.stringify(example('attempts')));
    expect(list(parkedBody(parked))).toBe(JSON.stringify(example('parked')));
    expect(await hooks.test(hook.id)).toEqual({ kind: 'sent', result: example('test') });
  });

  test('keys and the audit trail', () => {
    const wanted = example('new-key') as object;
    expect(NewKey.parse(wanted)).toEqual(wanted);
    expect(NewKey.parse({ ...wanted, expiresAt: undefined })).toEqual(wanted);
    const { key, ...shown } = example('key') as { key: string };
    expect(JSON.stringify(keyBody({ ...apiKey, lastUsedAtMs: null }))).toBe(JSON.stringify(shown));
    expect(key).toMatch(/^willow_1f0c8e5a9b3d7246_/);
    const record = auditBody({
      id: 12,
      atMs: ms('10:00:00'),
      actor: `key:${apiKey.id}`,
      action: 'session.kicked',
      target: 'user:42',
      detail: { sessionId: 'phone' },
    });
    expect(JSON.stringify({ data: [record], nextCursor: null })).toBe(JSON.stringify(example('audit')));
  });

  test('what is in the quarantine', () => {
    const payload = Buffer.concat([Buffer.from('{"userId":"\u202eada'), Buffer.from([0xff, 0x0a])]);
    const message = quarantinedBody({
      id: 12,
      receivedAtMs: ms('10:00:00'),
      topic: '/logout',
      reason: 'not-json',
      detail: 'the payload is not valid JSON',
      payload,
      payloadBytes: 4_000,
    });
    expect(JSON.stringify({ data: [message], nextCursor: null })).toBe(JSON.stringify(example('quarantine')));
  });

  test('a problem', () => {
    const problem = badInput([{ in: 'query', name: 'limit', detail: 'must be a whole number from 1 to 1000' }]);
    expect(JSON.parse(rawResponse(problem).split('\r\n\r\n')[1] ?? '')).toEqual(example('problem'));
  });
});

test('every type of problem has its status, its title and a remedy, and none is made up', () => {
  const source = read('src/http/problems.ts').matchAll(/^ {2}'?([a-z-]+)'?: \{ status: (\d+), title: '([^']+)' \},$/gm);
  const table = [...source].map(([, type = '', status = '', title = '']) => [type, status, title]);
  const documented = rowsBelow('## Problems').map(([type, status, title]) => [nameOf(type), status, title]);
  expect(documented).toEqual(table);
  for (const [type, , , remedy] of rowsBelow('## Problems')) expect(remedy, type).toMatch(/\w.*\.$/);
});

test('every action of the audit trail is listed, and none is made up', () => {
  expect(rowsBelow('### `GET /audit`').map(([action]) => plain(action))).toEqual([...auditActions]);
});

test('every limit is listed, and none is made up', () => {
  const number = (value: number) => value.toLocaleString('en');
  const seconds = (ms: number) => `${number(ms / 1_000)} s`;
  const size = (bytes: number) => (bytes < 2 ** 20 ? `${bytes / 2 ** 10} KiB` : `${bytes / 2 ** 20} MiB`);
  const { callerRequestsMax, callerWindowMs, failuresMax, failuresWindowMs, ...others } = httpLimits;
  expect(rowsBelow('## Limits').map(([, bound]) => bound)).toEqual([
    `${number(callerRequestsMax)} in ${seconds(callerWindowMs)}`,
    `${number(failuresMax)} in ${seconds(failuresWindowMs)}`,
    `${number(others.requestsMax)} each`,
    `${others.turnMsMax} ms of work; ${others.vitalTurnMsMax} ms more for \`/healthz\`, \`/readyz\` and \`/metrics\``,
    size(others.bodiesBytesMax),
    `${others.bodiesTurnMsMax} ms of work at once, then as long a rest`,
    number(others.requestsPerConnectionMax),
    size(others.unreadBytesMax),
    size(others.unreadBytesPerConnectionMax),
    seconds(others.unreadMsMax),
    number(others.connectionsMax),
    `${number(streamLimits.streamsMax)}, ${number(streamLimits.callerStreamsMax)}`,
    size(streamLimits.unsentBytesMax),
    seconds(streamLimits.stalledMsMax),
    `${size(streamLimits.allUnsentBytesMax)}, ${seconds(streamLimits.stuckMsMin)}`,
    `${dearReads.underWayMax}, ${dearReads.pastMax}`,
    seconds(dearReads.waitMsMax),
    size(dearReads.waitingBytesMax),
    size(socketLimits.headerBytesMax),
    `${number(parameterCharactersMax)} characters`,
    size(bodyBytesMax),
    seconds(socketLimits.headersTimeoutMs),
    seconds(socketLimits.requestTimeoutMs),
    seconds(socketLimits.keepAliveTimeoutMs),
    seconds(socketLimits.connectionTimeoutMs),
  ]);
});

test('every check of readiness is explained, and none is made up', () => {
  const sources = globSync('src/app*.ts', { cwd: root }).map(read).join('\n');
  const made = sources.matchAll(/(?:health\.(?:add|watchLoop)\(|runTrimming\(\s*base,\s*\{ name: )'(\w+)'/gu);
  const explained = rowsBelow('### `GET /healthz`, `GET /readyz`').flatMap(
    ([names = '']) => names.match(/\w+/gu) ?? [],
  );
  expect(new Set(explained)).toEqual(new Set([...made].map(([, name]) => name)));
});

test('every scope is explained, and none is made up', () => {
  expect(rowsBelow('## Who may call').map(([scope]) => plain(scope))).toEqual([...scopes]);
});
