import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EventType } from '../../src/core/session.ts';
import { eraseUser } from '../../src/store/erase.ts';
import type { LoggedEvent } from '../../src/store/log.ts';
import { type LogQuestion, listEvents, stretchEvents } from '../../src/store/log-pages.ts';
import { actor, openTables, type Tables, trim } from '../support/endpoints.ts';
import { writeEvents } from '../support/log-writers.ts';

let tables: Tables;
beforeAll(async () => {
  tables = await openTables();
});
afterAll(() => tables[Symbol.asyncDispose]());

const anybody = { after: null, limit: 100, types: null, userId: null } as const;

/** As a caller does, from page to page to the end of the log. */
async function readAll(own: Tables, question: Partial<LogQuestion>) {
  const events: LoggedEvent[] = [];
  let after = question.after ?? null;
  for (let pages = 1; ; pages += 1) {
    const page = await listEvents(own.pool, { ...anybody, ...question, after });
    const limit = question.limit ?? anybody.limit;
    const shown = page.events.slice(0, limit);
    events.push(...shown);
    after = page.events.length > limit ? (shown.at(-1)?.position ?? 0) : page.upTo;
    if (after >= page.head) return { events, pages, head: page.head };
  }
}

describe('the pages of a log', () => {
  test('of a log without events are one, and empty', async () => {
    await using own = await openTables();
    for (const userId of [null, 'user-1']) {
      const page = await listEvents(own.pool, { ...anybody, userId });
      expect(page).toEqual({ head: 0, trimmed: 0, upTo: 0, events: [] });
    }
  });

  test('have every event that is asked for once, in order, whatever is missing, wherever they begin', async () => {
    await using own = await openTables();
    for (let n = 0; n < 40; n += 1) {
      await writeEvents(
        own.pool,
        Array.from({ length: 50 }, (_, m) => `user-${(n * 7 + m * m) % 23}`),
      );
    }
    await eraseUser(own.pool, 'user-3' as never, actor);
    // Who is erased and comes back begins with the sequence 1 again.
    await writeEvents(own.pool, ['user-3', 'user-1', 'user-3']);
    await own.pool.query('delete from events where position % 11 = 0');
    const { rows: all } = await own.pool.query<{ position: string; user_id: string; type: EventType }>(
      'select position, user_id, type from events order by position',
    );
    const types = new Set<EventType>(['user.offline', 'session.started']);
    for (const after of [null, 0, 1, 777, 1_500, 2_000, 2_003]) {
      for (const userId of [null, 'user-0', 'user-1', 'user-3', 'nobody']) {
        for (const filter of [null, types]) {
          const expected = all
            .filter(
              (event) =>
                Number(event.position) > (after ?? 0) &&
                (userId === null || event.user_id === userId) &&
                (filter === null || filter.has(event.type)),
            )
            .map(({ position }) => Number(position));
          const limit = 1 + ((after ?? 5) % 97);
          const read = await readAll(own, { after, userId, types: filter, limit });
          expect(read.events.map(({ position }) => position)).toEqual(expected);
          expect(read.pages).toBeLessThanOrEqual(Math.floor(expected.length / limit) + 2);
        }
      }
    }
  });

  test('look at a bounded stretch where little is wanted, and say how far', async () => {
    await using own = await openTables();
    const before = await listEvents(own.pool, anybody);
    expect(before.head).toBe(0);
    await own.pool.query(
      `with head as (update log_head set position = 12000)
       insert into events (position, user_id, sequence, type, session_id, at)
       select n, 'user-' || n % 3, n / 3 + 1, case when n = 11000 then 'user.offline' else 'user.online' end, 's', now()
       from generate_series(1, 12000) n`,
    );
    await own.pool.query(
      `insert into users (user_id, revision, sequence) select 'user-' || n, 1, 4001 from generate_series(0, 2) n`,
    );
    const types = new Set<EventType>(['user.offline']);
    const first = await listEvents(own.pool, { ...anybody, types });
    expect(first).toMatchObject({ head: 12_000, upTo: stretchEvents, events: [] });
    const read = await readAll(own, { types });
    expect(read.events.map(({ position }) => position)).toEqual([11_000]);
    expect(read.pages).toBe(3);
    expect((await readAll(own, { types, userId: 'user-2' })).events).toHaveLength(1);
  });

  test('begin behind what is gone, leave out what is kept for its user alone, and say what may be gone', async () => {
    await using own = await openTables();
    await writeEvents(
      own.pool,
      Array.from({ length: 20 }, (_, n) => `user-${n % 4}`),
    );
    await trim(own.pool, 8);
    await own.pool.query(
      `insert into events (position, user_id, sequence, type, session_id, at) values (3, 'user-2', 1, 'user.online', 's', now())`,
    );
    const page = await listEvents(own.pool, anybody);
    expect(page).toMatchObject({ trimmed: 8, head: 20, upTo: 20 });
    expect(page.events.map(({ position }) => position)).toEqual(Array.from({ length: 12 }, (_, n) => 9 + n));
    const own2 = await listEvents(own.pool, { ...anybody, userId: 'user-2' });
    expect(own2.events.map(({ position }) => position)).toEqual([11, 15, 19]);
  });
});
