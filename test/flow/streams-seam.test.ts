// Between catching up and what is new nothing is missed and nothing told twice, whoever writes meanwhile, wherever a reader begins, whenever it
// is cut off, and whichever process it comes back to.

import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { eventBody } from '../../src/http/render.ts';
import { createDatabase } from '../support/database.ts';
import { keepWriting, writeEvents } from '../support/log-writers.ts';
import { openSse } from '../support/sse.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

type EventBody = ReturnType<typeof eventBody>;

const users = 12;
const readersMax = 24;
const cutsMin = 2 * readersMax;
const beginWithinMs = 1_500;

type Filter = { readonly query: string; readonly wants: (event: EventBody) => boolean };

const filters: readonly Filter[] = [
  { query: '', wants: () => true },
  { query: '', wants: () => true },
  { query: '&type=user.offline', wants: ({ type }) => type === 'user.offline' },
  { query: '&user=user-3', wants: ({ userId }) => userId === 'user-3' },
  {
    query: '&user=user-4&type=user.online,session.ended',
    wants: ({ type, userId }) => userId === 'user-4' && (type === 'user.online' || type === 'session.ended'),
  },
];

const whole = (below: number) => Math.floor(Math.random() * below);

test('readers that begin and are cut off at random, at two processes, are each told everything once and in order', async () => {
  await using database = await createDatabase();
  await writeEvents(
    database.pool,
    // Enough that some are far behind.
    Array.from({ length: 9_000 }, (_, n) => `user-${n % users}`),
  );
  const environment = { DATABASE_URL: database.url, ROLES: 'api' };
  await using one = await startWillow(environment);
  await using other = await startWillow(environment);
  const processes = [one.http, other.http];
  const stopWriting = keepWriting(database.pool, { writers: 3, users, perCommitMax: 20 });
  const stopped = Promise.withResolvers<readonly EventBody[]>();
  let isWriting = true;
  let cuts = 0;

  const follow = async (n: number) => {
    const { query, wants } = filters[n % filters.length] as Filter;
    await delay(whole(beginWithinMs));
    const { rows } = await database.pool.query<{ head: number }>('select position::float8 as head from log_head');
    const head = rows[0]?.head ?? 0;
    const first = n % 4 === 0 ? null : whole(head + 1);
    const told: EventBody[] = [];
    let place = first === null ? null : String(first);
    for (;;) {
      const url = `${processes[whole(2)]}/events/stream?after=0${query}`;
      const begin = place === null ? url.replace('after=0&', '').replace('after=0', '') : url;
      const headers: Record<string, string> = place === null ? {} : { 'last-event-id': place };
      await using reader = await openSse<EventBody>(begin, headers);
      expect(reader.status).toBe(200);
      await until('a place', () => reader.lastEventId() !== '');
      if (place === null) starts.set(n, Number(reader.firstEventId()));
      if (isWriting) {
        await Promise.race([delay(whole(700)), stopped.promise]);
        cuts += 1;
        reader.leave();
        await until('the cut', () => reader.isOver());
      } else {
        const last = (await stopped.promise).findLast(wants)?.position ?? 0;
        await until('the last event', () => Number(reader.lastEventId()) >= last);
      }
      told.push(...reader.messages.map(({ data }) => data));
      place = reader.lastEventId();
      if (!reader.isOver()) return { n, first, told, wants };
    }
  };
  const starts = new Map<number, number>();
  const following = Array.from({ length: readersMax }, (_, n) => follow(n));
  await until('cuts', () => cuts >= cutsMin);
  await stopWriting();
  isWriting = false;
  const all = await readLog(one);
  stopped.resolve(all);
  const followed = await Promise.all(following);

  expect(all.map(({ position }) => position)).toEqual(Array.from(all, (_, n) => n + 1));
  for (const { n, first, told, wants } of followed) {
    const after = first ?? starts.get(n) ?? 0;
    const expected = all.filter((event) => event.position > after && wants(event));
    expect(told.map(({ position }) => position)).toEqual(expected.map(({ position }) => position));
    expect(told).toEqual(expected);
  }
});

async function readLog({ get }: Pick<Willow, 'get'>): Promise<readonly EventBody[]> {
  type Page = { readonly data: EventBody[]; readonly nextCursor: string | null };
  const all: EventBody[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: Page = (await get<Page>(`/events?limit=1000${cursor === '' ? '' : `&cursor=${cursor}`}`)).body;
    all.push(...page.data);
    cursor = page.nextCursor;
  }
  return all;
}
