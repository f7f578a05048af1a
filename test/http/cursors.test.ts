// A cursor goes on with the list, the question and the database that gave it, and with nothing else.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SessionId } from '../../src/core/ids.ts';
import type { Session } from '../../src/core/session.ts';
import type { LoggedEvent } from '../../src/http/render.ts';
import { ended, userId } from './ada.ts';
import { attempt, hook, hooks } from './hook.ts';
import { message } from './message.ts';
import { expectProblem, type Served, serve } from './serve.ts';

const event: LoggedEvent = {
  ...ended,
  userId,
  type: 'session.started',
  sequence: 1,
  position: 5,
  reason: null,
  atMs: 0,
};
const session: Session = { ...ended, sessionId: SessionId.parse('s') };

let calls = 0;
const twice =
  <Item>(item: Item) =>
  async () => {
    calls += 1;
    return [item, item];
  };
const lists = {
  listSessions: twice(session),
  eventsOfUser: twice(event),
  webhooks: { ...hooks, list: twice(hook), listAttempts: twice(attempt) },
  quarantine: { list: twice(message), get: async () => message, remove: async () => true },
};

let served: Served;
beforeAll(async () => {
  served = await serve(lists);
});
afterAll(() => served[Symbol.asyncDispose]());

async function cursorOf(path: string, at: Served = served): Promise<string> {
  const answer = await at.call({ path: `${path}${path.includes('?') ? '&' : '?'}limit=1` });
  const { nextCursor } = JSON.parse(answer.body) as { nextCursor: string };
  expect(nextCursor).toMatch(/^[\w-]+$/u);
  return nextCursor;
}

async function handBack(path: string, cursor: string) {
  return served.call({ path: `${path}${path.includes('?') ? '&' : '?'}cursor=${cursor}` });
}

async function expectRefused(path: string, cursor: string): Promise<void> {
  const before = calls;
  const { detail } = expectProblem(await handBack(path, cursor), 400, 'bad-cursor');
  expect(detail).toContain('it was not given by this list, or not to this question');
  expect(calls).toBe(before);
}

const questions = [
  '/users/ada/sessions',
  '/users/bob/sessions',
  '/users/ada/events',
  '/users/bob/events',
  '/webhooks',
  '/webhooks/whe_1/attempts',
  '/webhooks/whe_1/attempts?outcome=failed',
  '/webhooks/whe_1/attempts?outcome=refused',
  '/webhooks/whe_2/attempts',
  '/quarantine',
  '/quarantine?reason=not-json',
  '/quarantine?reason=bad-shape',
];

test('a cursor is good for the question that it was given to, and for no other one', async () => {
  for (const asked of questions) {
    const cursor = await cursorOf(asked);
    for (const other of questions) {
      if (other === asked) expect((await handBack(other, cursor)).status).toBe(200);
      else await expectRefused(other, cursor);
    }
  }
});

test('the size of a page may change on the way', async () => {
  const cursor = await cursorOf('/users/ada/sessions');
  for (const limit of [1, 7, 1_000])
    expect((await handBack(`/users/ada/sessions?limit=${limit}`, cursor)).status).toBe(200);
});

test('a cursor of another database is refused', async () => {
  await using other = await serve({ ...lists, cursorKey: 'another database' });
  await expectRefused('/users/ada/sessions', await cursorOf('/users/ada/sessions', other));
  await using same = await serve(lists);
  expect((await handBack('/users/ada/sessions', await cursorOf('/users/ada/sessions', same))).status).toBe(200);
});

const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

test('a cursor with any one character changed, left out or added is refused', async () => {
  const cursor = await cursorOf('/users/ada/sessions');
  await fc.assert(
    fc.asyncProperty(fc.nat(cursor.length), fc.nat(63), fc.constantFrom(0, 1), async (place, which, cut) => {
      const altered = cursor.slice(0, place) + digits[which] + cursor.slice(place + cut);
      const shortened = cursor.slice(0, place) + cursor.slice(place + 1);
      if (altered !== cursor) await expectRefused('/users/ada/sessions', altered);
      if (shortened !== cursor) await expectRefused('/users/ada/sessions', shortened);
    }),
    { numRuns: 300 },
  );
});

const unsigned = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString('base64url');

test.each([
  '',
  'x',
  'null',
  '%00',
  'e30',
  '%F0%9F%91%8D',
  'A'.repeat(22),
  unsigned(null),
  unsigned(['sessions', { startedAtMs: 0, sessionId: 's' }]),
  unsigned({ startedAtMs: 0, sessionId: 's' }),
  'x'.repeat(10_000),
])('what is no cursor at all is 400: %.30s', async (garbage) => {
  for (const path of questions) await expectRefused(path, garbage);
});

test('two cursors are no cursor', async () => {
  expectProblem(await served.call({ path: '/users/ada/events?cursor=a&cursor=b' }), 400, 'bad-input');
});
