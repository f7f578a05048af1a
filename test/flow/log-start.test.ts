import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { positionBefore } from '../../src/store/log-start.ts';
import { appendEvents, openTables, type Tables, trim } from '../support/endpoints.ts';

let tables: Tables;
beforeAll(async () => {
  tables = await openTables();
});
afterAll(() => tables[Symbol.asyncDispose]());

const beginMs = Date.parse('2026-11-23T08:00:00Z');

describe('the place in the log before a time', () => {
  test('of an empty log is its end', async () => {
    expect(await positionBefore(tables.pool, beginMs)).toBe(0);
  });

  test('has every event of that time and later behind it, and none before, wherever the time falls', async () => {
    await using own = await openTables();
    // Ten seconds between two, with pauses of hours, erased events, and several at once.
    const times = Array.from(
      { length: 3_000 },
      (_, n) => beginMs + Math.floor(n / 3) * 10_000 + Math.floor(n / 700) * 7_200_000,
    );
    await appendEvents(own.pool, times);
    await own.pool.query('delete from events where position % 7 = 0 or position between 1000 and 1400');
    const kept = times.map((at, n) => ({ at, position: n + 1 }));
    const isKept = ({ position }: { position: number }) => position % 7 !== 0 && (position < 1_000 || position > 1_400);
    const events = kept.filter(isKept);
    const last = events.at(-1)?.at ?? 0;
    const asked = [
      beginMs - 1,
      beginMs,
      last,
      last + 1,
      ...events.filter((_, n) => n % 97 === 0).flatMap(({ at }) => [at - 1, at, at + 1]),
    ];
    for (const sinceMs of asked) {
      const place = await positionBefore(own.pool, sinceMs);
      expect(events.find(({ position }) => position > Number(place))?.at ?? Infinity).toBeGreaterThanOrEqual(sinceMs);
      expect(events.find(({ at }) => at >= sinceMs)?.position ?? 3_001).toBeGreaterThan(Number(place));
    }
    expect(await positionBefore(own.pool, last + 1)).toBe(3_000);
  });

  test('leaves out no event that a clock was behind for, within a minute', async () => {
    await using own = await openTables();
    const times = Array.from({ length: 2_000 }, (_, n) => beginMs + n * 1_000 + ((n * 7_919) % 59_000) - 29_500);
    await appendEvents(own.pool, times);
    for (let n = 100; n < 2_000; n += 190) {
      const sinceMs = beginMs + n * 1_000;
      const place = Number(await positionBefore(own.pool, sinceMs));
      expect(times.slice(0, place).filter((at) => at >= sinceMs)).toEqual([]);
      expect(times[place]).toBeGreaterThanOrEqual(sinceMs);
    }
  });

  test('that is gone is said to be, and what is still there is not', async () => {
    await using own = await openTables();
    const times = Array.from({ length: 100 }, (_, n) => beginMs + n * 1_000);
    await appendEvents(own.pool, times);
    await trim(own.pool, 50);
    const gone = { kind: 'gone', startsAfter: 50 };
    expect(await positionBefore(own.pool, beginMs + 10_000)).toEqual(gone);
    expect(await positionBefore(own.pool, beginMs + 49_000)).toEqual(gone);
    expect(await positionBefore(own.pool, beginMs + 49_001)).toBe(50);
    expect(await positionBefore(own.pool, beginMs + 50_001)).toBe(51);
    expect(await positionBefore(own.pool, beginMs + 200_000)).toBe(100);
  });

  test('is not gone where the newest event of an idle log is kept', async () => {
    await using own = await openTables();
    await appendEvents(own.pool, [beginMs, beginMs + 1_000]);
    await trim(own.pool, 2);
    await own.pool.query(
      `insert into events (position, user_id, sequence, type, session_id, at) values (2, 'user', 2, 'user.online', 'phone', to_timestamp($1::float8 / 1000))`,
      [beginMs + 1_000],
    );
    expect(await positionBefore(own.pool, beginMs + 2_000)).toBe(2);
    expect(await positionBefore(own.pool, beginMs + 1_000)).toEqual({ kind: 'gone', startsAfter: 2 });
  });
});
