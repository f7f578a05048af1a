import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type UserId, UserId as UserIdOf } from '../../src/core/ids.ts';
import type { ListedPresence, PresenceListsPort } from '../../src/http/routes/presence-lists.ts';
import { atMs, lost, online, userId } from './ada.ts';
import { expectProblem, type Served, serve } from './serve.ts';

const shown = { sinceMs: atMs, lastSeenAtMs: atMs + 1_500, sequence: 3, asOfMs: atMs + 4_000, isStale: false };
const summary = (id: UserId): ListedPresence => ({ ...shown, userId: id, status: 'online' });
const text =
  '"status":"online","since":"2026-11-23T10:00:00.000Z","lastSeenAt":"2026-11-23T10:00:01.500Z","sequence":3,';
const trust = '"asOf":"2026-11-23T10:00:04.000Z","stale":false}';

const asked: unknown[] = [];
const port: PresenceListsPort = {
  queryPresence: async (userIds, withSessions) => {
    asked.push(userIds, withSessions);
    return userIds.map((id) => ({ ...summary(id), ...(withSessions && { sessions: [online, lost] }) }));
  },
  listPresence: async (filter, page) => {
    asked.push(filter, page);
    return { users: [summary(userId)], nextAfter: UserIdOf.parse('bob'), head: 10 + asked.length };
  },
  countPresence: async () => ({
    online: 5,
    lost: 1,
    sessions: 7,
    users: 9,
    asOfMs: atMs,
    isStale: true,
    position: 42,
  }),
};

let served: Served;
beforeAll(async () => {
  served = await serve({ presenceLists: port });
});
afterAll(() => served[Symbol.asyncDispose]());

async function query(body: unknown, path = '/presence/query') {
  asked.length = 0;
  const headers = { 'content-type': 'application/json' };
  return served.call({ method: 'POST', path, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
}

describe('the query', () => {
  test('answers each id in the order asked, repeated ones too, without the sessions', async () => {
    const answer = await query({ userIds: ['bob', 'ada', 'bob'] });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.body).toBe(
      `{"data":[${['bob', 'ada', 'bob'].map((id) => `{"userId":"${id}",${text}${trust}`).join()}]}`,
    );
    expect(asked).toEqual([['bob', 'ada', 'bob'], false]);
    await query({ userIds: ['ada'] }, '/presence/query?sessions=false');
    expect(asked).toEqual([['ada'], false]);
  });

  test('answers with the sessions where they are asked for', async () => {
    const { body } = await query({ userIds: ['ada'] }, '/presence/query?sessions=true');
    const [user] = (JSON.parse(body) as { data: { sessions: { sessionId: string }[] }[] }).data;
    expect(Object.keys(user ?? {})).toEqual([
      'userId',
      'status',
      'since',
      'lastSeenAt',
      'sequence',
      'sessions',
      'asOf',
      'stale',
    ]);
    expect(user?.sessions.map(({ sessionId }) => sessionId)).toEqual(['phone', 'tab']);
    expect(asked).toEqual([['ada'], true]);
  });

  test('takes 1,000 of the longest ids, escaped as JSON can be at its worst, and keeps their order', async () => {
    const escaped = '\\ud83d\\udc4d'.repeat(255);
    const ids = Array.from({ length: 1_000 }, (_, n) => `"${escaped}${String.fromCodePoint(0x4e00 + n)}"`);
    const answer = await query(`{"userIds":[${ids.join(', ')}]}`);
    expect(answer.status, answer.body.slice(0, 200)).toBe(200);
    const { data } = JSON.parse(answer.body) as { data: { userId: string }[] };
    expect(data.map(({ userId: id }) => id.codePointAt(510))).toEqual(ids.map((_, n) => 0x4e00 + n));
  });

  const list = 'must be a list of 1 to 1000 ids';
  const badBodies: readonly (readonly [what: string, body: unknown, name: string, detail: string])[] = [
    ['1,001 ids', { userIds: Array.from({ length: 1_001 }, String) }, 'userIds', list],
    ['no id', { userIds: [] }, 'userIds', list],
    ['no list', { userIds: 'ada' }, 'userIds', list],
    ['nothing', {}, 'userIds', list],
    ['something else', { userIds: ['ada'], users: [] }, 'users', 'is not known'],
    ['an array', ['ada'], '', 'must be a JSON object'],
    ['a number', 42, '', 'must be a JSON object'],
    ['null', null, '', 'must be a JSON object'],
    ['an id that is too long', { userIds: ['ada', 'x'.repeat(257)] }, 'userIds/1', 'is longer than 256 characters'],
    ['an id that is no text', { userIds: [42] }, 'userIds/0', 'must be text'],
    ['an id that is empty', { userIds: [''] }, 'userIds/0', 'is empty'],
    ['an id with U+0000', { userIds: ['a\u0000'] }, 'userIds/0', 'has a control character or a lone surrogate'],
    [
      'an id with half a character',
      { userIds: ['\ud800'] },
      'userIds/0',
      'has a control character or a lone surrogate',
    ],
  ];
  test.each(badBodies)('%s: 422, and what is wrong is named', async (_what, body, name, detail) => {
    const { errors } = expectProblem(await query(body), 422, 'bad-body');
    expect(errors).toEqual([{ in: 'body', name, detail }]);
    expect(asked).toEqual([]);
  });

  test('10 MB, no JSON, no body and another question are refused', async () => {
    expectProblem(await query(`{"userIds":["${'x'.repeat(10_000_000)}"]}`), 413, 'body-too-large');
    expectProblem(await query('{"userIds":['), 400, 'bad-request');
    expectProblem(await query(''), 422, 'bad-body');
    for (const path of ['?sessions=1', '?sessions=', '?sessions=true&sessions=true', '?limit=5'])
      expectProblem(await query({ userIds: ['ada'] }, `/presence/query${path}`), 400, 'bad-input');
    expect(asked).toEqual([]);
  });
});

type Page = { readonly data: unknown[]; readonly nextCursor: string; readonly position: number; readonly head: number };

async function pageOf(path: string): Promise<Page> {
  asked.length = 0;
  const answer = await served.call({ path });
  expect(answer.status, answer.body).toBe(200);
  return JSON.parse(answer.body) as Page;
}

describe('the pages of all', () => {
  test('carry the position of the first page on, and each its own', async () => {
    const first = await pageOf('/presence?limit=1');
    expect(asked).toEqual([
      { status: null, withSessions: false },
      { limit: 1, after: null },
    ]);
    expect(first).toMatchObject({ data: [{ userId: 'ada' }], position: 12, head: 12 });
    asked.push('one more');
    const answer = await served.call({ path: `/presence?limit=7&cursor=${first.nextCursor}` });
    expect(JSON.parse(answer.body)).toMatchObject({ position: 12, head: 15 });
    expect(asked.slice(-1)).toEqual([{ limit: 7, after: 'bob' }]);
  });

  test('show these fields and no others', async () => {
    const { nextCursor } = await pageOf('/presence');
    const { body } = await served.call({ path: `/presence?cursor=${nextCursor}` });
    const next = (JSON.parse(body) as Page).nextCursor;
    expect(body).toBe(`{"data":[{"userId":"ada",${text}${trust}],"nextCursor":"${next}","position":12,"head":14}`);
  });

  test('are asked for as it is meant', async () => {
    for (const [status, sessions] of [
      ['online', true],
      ['offline', false],
    ] as const) {
      await pageOf(`/presence?status=${status}&sessions=${sessions}&limit=1000`);
      expect(asked).toEqual([
        { status, withSessions: sessions },
        { limit: 1_000, after: null },
      ]);
    }
  });

  test('go on with their own question only', async () => {
    const questions = ['/presence?', '/presence?status=online', '/presence?status=offline', '/presence?sessions=true'];
    for (const question of questions) {
      const { nextCursor } = await pageOf(question);
      for (const other of questions) {
        const answer = await served.call({ path: `${other}&cursor=${nextCursor}` });
        if (other === question) expect(answer.status).toBe(200);
        else expectProblem(answer, 400, 'bad-cursor');
      }
      // Said or not, it is the same question.
      if (question === '/presence?') await pageOf(`/presence?sessions=false&cursor=${nextCursor}`);
    }
  });

  test.each([
    ['status=lost', 'status'],
    ['status=', 'status'],
    ['status=online&status=offline', 'status'],
    ['sessions=yes', 'sessions'],
    ['limit=0', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1000000000', 'limit'],
    ['after=3', 'after'],
    ['at=2026-11-23T10:00:00Z', 'at'],
  ])('a question that is not understood is 400 and named: %s', async (question, name) => {
    const { errors } = expectProblem(await served.call({ path: `/presence?${question}` }), 400, 'bad-input');
    expect(errors?.map((error) => error.name)).toEqual([name]);
  });
});

test('the counts show these fields and no others', async () => {
  const { status, body } = await served.call({ path: '/presence/counts' });
  expect([status, body]).toEqual([
    200,
    '{"online":5,"lost":1,"sessions":7,"users":9,"asOf":"2026-11-23T10:00:00.000Z","stale":true,"position":42}',
  ]);
  expectProblem(await served.call({ path: '/presence/counts?status=online' }), 400, 'bad-input');
});

describe('an answer has a size that it keeps to', () => {
  const wide = { ...online, device: { label: 'x'.repeat(1_000) } };
  const crowd = (n: number, sessions: number): ListedPresence => ({
    ...summary(UserIdOf.parse(`crowd-${n}`)),
    sessions: Array.from({ length: sessions }, () => wide),
  });
  const ask = async (with_: Partial<PresenceListsPort>, userIds: readonly string[]) => {
    await using other = await serve({ presenceLists: { ...port, ...with_ } });
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ userIds });
    return await other.call({ method: 'POST', path: '/presence/query?sessions=true', headers, body });
  };

  test('more sessions than one answer has: 422, and what helps', async () => {
    const refused = async () => ({ kind: 'too-many-sessions', sessionsMax: 10_000 }) as const;
    const problem = expectProblem(await ask({ queryPresence: refused }, ['ada']), 422, 'too-many-sessions');
    expect(problem.detail).toBe('at most 10000 in one answer, those of repeated ids each time: ask for fewer ids');
  });

  test('one long text 1,000 times over is refused before it is written', async () => {
    const user = crowd(0, 10);
    const problem = expectProblem(
      await ask({ queryPresence: async (ids) => ids.map(() => user) }, Array(1_000).fill('crowd-0')),
      422,
      'too-many-sessions',
    );
    expect(problem.detail).toBe('an answer has at most 8388608 characters: ask for fewer ids');
  });

  test('each user is rendered once, however often he is told, and others get their turn between the sessions', async () => {
    let turn = 0;
    let isOver = false;
    const count = (): void => {
      turn += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    const renderedIn: number[] = [];
    const users = Array.from({ length: 100 }, (_, n) => {
      const user = crowd(n, 1);
      const sessions = Array.from({ length: 50 }, () => online);
      return {
        ...user,
        sessions,
        get status() {
          renderedIn.push(turn);
          return 'online' as const;
        },
      };
    });
    const answer = await ask({ queryPresence: async () => [...users, ...users] }, ['ada']);
    isOver = true;
    expect(answer.status).toBe(200);
    const ids = (JSON.parse(answer.body) as { data: { userId: string }[] }).data.map(({ userId: id }) => id);
    expect(ids).toEqual([...users, ...users].map(({ userId: id }) => id));
    expect(renderedIn).toHaveLength(users.length);
    expect(new Set(renderedIn).size).toBeGreaterThan(10);
  });

  test('a page ends at a whole user, and the next one begins behind him', async () => {
    const users = Array.from({ length: 12 }, (_, n) => crowd(10 + n, 1_000));
    const from: (string | null)[] = [];
    await using other = await serve({
      presenceLists: {
        ...port,
        listPresence: async (_filter, { after }) => {
          from.push(after);
          return { users: users.filter((user) => after === null || user.userId > after), nextAfter: null, head: 7 };
        },
      },
    });
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const path: string = `/presence?sessions=true&limit=1000${cursor === '' ? '' : `&cursor=${cursor}`}`;
      const answer = await other.call({ path });
      expect(answer.status).toBe(200);
      expect(answer.body.length).toBeLessThan(9_000_000);
      const page = JSON.parse(answer.body) as {
        data: { userId: string; sessions: unknown[] }[];
        nextCursor: string | null;
      };
      for (const { userId: id, sessions } of page.data) {
        expect(sessions).toHaveLength(1_000);
        seen.push(id);
      }
      cursor = page.nextCursor;
    }
    expect(seen).toEqual(users.map(({ userId: id }) => id));
    expect(from.length).toBeGreaterThan(1);
  });
});
