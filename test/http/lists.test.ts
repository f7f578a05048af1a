import { expect, test } from 'vitest';
import { SessionId } from '../../src/core/ids.ts';
import type { Event, Session } from '../../src/core/session.ts';
import type { LoggedEvent } from '../../src/http/render.ts';
import { atMs, ended, online, userId } from './ada.ts';
import { expectProblem, type Served, serve } from './serve.ts';

/** Sessions as a store would page them: by start and id, both descending; several begin in the same ms. */
function sessionStore(count: number) {
  const sessions = Array.from({ length: count }, (_, n): Session => {
    const sessionId = SessionId.parse(`s"\\${String(n % 7).padStart(2, '0')}-${n}`);
    return { ...ended, sessionId, startedAtMs: atMs + Math.floor(n / 5) };
  });
  const isBefore = (a: Session, b: { startedAtMs: number; sessionId: string }): boolean =>
    a.startedAtMs < b.startedAtMs || (a.startedAtMs === b.startedAtMs && a.sessionId < b.sessionId);
  sessions.sort((a, b) => (isBefore(a, b) ? 1 : -1));
  return sessions;
}

test('paging through sessions shows each once, newest first, whatever the page size', async () => {
  const sessions = sessionStore(23);
  await using served = await serve({
    listSessions: async (_userId, { limit, after }) => {
      const start = after === null ? 0 : 1 + sessions.findIndex(({ sessionId }) => sessionId === after.sessionId);
      expect(after === null || sessions[start - 1]?.startedAtMs === after.startedAtMs).toBe(true);
      return sessions.slice(start, start + limit);
    },
  });
  for (const limit of [1, 7, 22, 23, 24, 1_000]) {
    const { items, pages } = await readAll<{ sessionId: string }>(served, `/users/ada/sessions?limit=${limit}`);
    expect(items.map(({ sessionId }) => sessionId)).toEqual(sessions.map(({ sessionId }) => sessionId));
    expect(pages).toBe(Math.ceil(sessions.length / limit));
  }
});

test('paging through events shows each once, oldest first, whatever the page size', async () => {
  const events = Array.from({ length: 23 }, (_, n): LoggedEvent => {
    const event: Event = {
      type: 'session.started',
      userId,
      sequence: n + 1,
      sessionId: online.sessionId,
      epoch: null,
      reason: null,
      device: null,
      atMs,
    };
    return { ...event, position: 3 * n + 5 };
  });
  await using served = await serve({
    eventsOfUser: async (_userId, { after, limit }) =>
      events.filter(({ sequence }) => sequence > (after?.sequence ?? 0)).slice(0, limit),
  });
  for (const limit of [1, 7, 22, 23, 24, 1_000]) {
    const { items, pages } = await readAll<{ sequence: number }>(served, `/users/ada/events?limit=${limit}`);
    expect(items.map(({ sequence }) => sequence)).toEqual(events.map(({ sequence }) => sequence));
    expect(pages).toBe(Math.ceil(events.length / limit));
  }
});

type Listed<Item> = { readonly data: Item[]; readonly nextCursor: string | null };

async function readAll<Item>(served: Served, path: string) {
  const items: Item[] = [];
  let cursor: string | null = '';
  let pages = 0;
  while (cursor !== null) {
    const answer = await served.call({ path: cursor === '' ? path : `${path}&cursor=${cursor}` });
    expect(answer.status, answer.body).toBe(200);
    const page = JSON.parse(answer.body) as Listed<Item>;
    if (page.nextCursor !== null) expect(page.nextCursor).toMatch(/^[\w-]+$/u);
    items.push(...page.data);
    cursor = page.nextCursor;
    pages += 1;
  }
  return { items, pages };
}

test('the limit is asked for as it is meant, one more than it is', async () => {
  const limits: number[] = [];
  const list = async (_userId: unknown, { limit }: { readonly limit: number }) => {
    limits.push(limit);
    return [];
  };
  await using served = await serve({ listSessions: list, eventsOfUser: list });
  for (const path of ['/users/ada/sessions', '/users/ada/events']) {
    for (const query of ['', '?limit=1', '?limit=1000', '?limit=7']) {
      expect((await served.call({ path: path + query })).status).toBe(200);
    }
  }
  expect(limits).toEqual([101, 2, 1_001, 8, 101, 2, 1_001, 8]);
});

test('a limit out of range, or no number, is 400 and named', async () => {
  await using served = await serve();
  const limits = [
    '0',
    '-1',
    '1001',
    '9999',
    '99999999999999999999',
    '',
    'x',
    '1.5',
    '1e2',
    '0x10',
    '+5',
    '%205',
    '05',
    'NaN',
  ];
  for (const query of [...limits.map((limit) => `limit=${limit}`), 'limit=5&limit=6', 'limit=%zz', 'limit']) {
    for (const path of ['/users/ada/sessions', '/users/ada/events']) {
      const problem = expectProblem(await served.call({ path: `${path}?${query}` }), 400, 'bad-input');
      expect(problem.errors).toEqual([{ in: 'query', name: 'limit', detail: 'must be a whole number from 1 to 1000' }]);
    }
  }
});

test('a cursor carries any session id, the longest too', async () => {
  const ids = ['\u{10FFFF}'.repeat(256), '"\\'.repeat(128), 'é/+='];
  let after: unknown;
  await using served = await serve({
    listSessions: async (_userId, page) => {
      after = page.after;
      return ids.map((id) => ({ ...ended, sessionId: SessionId.parse(id) }));
    },
  });
  for (const limit of [1, 2]) {
    const first = await served.call({ path: `/users/ada/sessions?limit=${limit}` });
    const { nextCursor } = JSON.parse(first.body) as { nextCursor: string };
    expect((await served.call({ path: `/users/ada/sessions?cursor=${nextCursor}` })).status).toBe(200);
    expect(after).toEqual({ startedAtMs: atMs, sessionId: ids[limit - 1] });
  }
});
