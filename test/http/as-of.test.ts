import { expect, test } from 'vitest';
import { isoTime } from '../../src/http/iso-time.ts';
import { atMs } from './ada.ts';
import { expectProblem, serve } from './serve.ts';

const at = (time: string) => `/users/ada/presence?at=${encodeURIComponent(time)}`;

test('what was shows these fields and no others', async () => {
  await using served = await serve({
    presenceAsOf: async (userId, askedMs) => ({
      kind: 'known',
      past: { userId, status: 'online', sinceMs: atMs, sequence: 3, atMs: askedMs },
    }),
  });
  const answer = await served.call({ path: at('2026-11-23T11:00:00.250+01:00') });
  expect(answer.status).toBe(200);
  expect(answer.headers.etag).toBeUndefined();
  expect(answer.body).toBe(
    '{"userId":"ada","status":"online","since":"2026-11-23T10:00:00.000Z","sequence":3,"at":"2026-11-23T10:00:00.250Z"}',
  );
});

test('any time up to now is asked for as it is meant', async () => {
  const asked: number[] = [];
  await using served = await serve({
    presenceAsOf: async (_userId, askedMs) => {
      asked.push(askedMs);
      return { kind: 'gone', fromMs: atMs };
    },
  });
  const times = [
    '2026-01-01T00:00:00Z',
    '2026-01-01T01:00:00+01:00',
    '2026-01-01T00:00:00.000Z',
    '0000-01-01T00:00:00Z',
  ];
  for (const time of [...times, isoTime(Date.now())]) {
    const gone = expectProblem(await served.call({ path: at(time) }), 410, 'events-gone');
    expect(gone).toMatchObject({ from: '2026-11-23T10:00:00.000Z' });
    expect(gone.detail).toBe('what was is known from 2026-11-23T10:00:00.000Z on');
  }
  expect(asked.slice(0, 4)).toEqual(times.map(Date.parse));
});

const noTime = 'must be one time in ISO 8601, such as 2026-11-23T08:00:00Z';
test.each([
  ['', noTime],
  ['yesterday', noTime],
  ['0', noTime],
  ['1795428000000', noTime],
  ['2026-11-23', noTime],
  ['2026-11-23T10:00:00', noTime],
  ['2026-11-23T10:00:00 01:00', noTime],
  ['2026-02-30T10:00:00Z', noTime],
  ['-000001-01-01T00:00:00Z', noTime],
  ['9999-12-31T23:59:59Z', 'must not be in the future'],
  [isoTime(Date.now() + 600_000), 'must not be in the future'],
])('%j is 400, and says why', async (time, detail) => {
  await using served = await serve();
  const problem = expectProblem(await served.call({ path: at(time) }), 400, 'bad-input');
  expect(problem.errors).toEqual([{ in: 'query', name: 'at', detail }]);
});

test('two times are none', async () => {
  await using served = await serve();
  const path = `${at('2026-01-01T00:00:00Z')}&at=2026-01-01T00:00:00Z`;
  expectProblem(await served.call({ path }), 400, 'bad-input');
});
