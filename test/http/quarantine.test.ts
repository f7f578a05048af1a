import { expect, test } from 'vitest';
import { message } from './message.ts';
import { expectProblem, serve } from './serve.ts';

/** Messages 1 to 5, of which the even ones are of another reason. */
function store() {
  const messages = [5, 4, 3, 2, 1].map((id) => ({ ...message, id, reason: id % 2 === 0 ? 'bad-shape' : 'not-json' }));
  return {
    list: async ({ limit, before, reason }: { limit: number; before: number | null; reason: string | null }) =>
      messages
        .filter((one) => (before === null || one.id < before) && (reason === null || one.reason === reason))
        .slice(0, limit),
    get: async (id: number) => messages.find((one) => one.id === id) ?? null,
    remove: async (id: number) => id <= 5,
  };
}

test('a message is shown with its size, and nothing in it that could pass for something else', async () => {
  await using served = await serve();
  const answer = await served.call({ path: '/quarantine/12' });
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toEqual({
    id: 12,
    receivedAt: '2026-11-23T10:00:00.000Z',
    topic: '/logout\\u202e',
    reason: 'not-json',
    detail: 'the payload is not valid JSON',
    payload: '{"a\\u000a\\\\',
    payloadBytes: 5,
    isCut: false,
  });
});

test('the list is newest first, page by page without a gap, all of it or of one reason', async () => {
  await using served = await serve({ quarantine: store() });
  const idsOf = async (query: string): Promise<number[]> => {
    const { data, nextCursor } = JSON.parse((await served.call({ path: `/quarantine?limit=2${query}` })).body) as {
      data: { id: number }[];
      nextCursor: string | null;
    };
    const ids = data.map(({ id }) => id);
    const rest = query.replace(/&cursor=.*/u, '');
    return nextCursor === null ? ids : [...ids, ...(await idsOf(`${rest}&cursor=${nextCursor}`))];
  };
  expect(await idsOf('')).toEqual([5, 4, 3, 2, 1]);
  expect(await idsOf('&reason=not-json')).toEqual([5, 3, 1]);
  expect(await idsOf('&reason=bad-epoch')).toEqual([]);
});

test('what is removed is 204, what is not there is 404, and what is no number or no reason is 400', async () => {
  await using served = await serve({ quarantine: store() });
  expect((await served.call({ method: 'DELETE', path: '/quarantine/5' })).status).toBe(204);
  for (const method of ['GET', 'DELETE']) {
    expectProblem(await served.call({ method, path: '/quarantine/6' }), 404, 'unknown-message');
    expectProblem(await served.call({ method, path: '/quarantine/999999999999999' }), 404, 'unknown-message');
    for (const id of ['abc', '-1', '1.5', '1e3', '9999999999999999', '%00'])
      expectProblem(await served.call({ method, path: `/quarantine/${id}` }), 400, 'bad-input');
  }
  for (const query of ['reason=nonsense', 'reason=not-json&reason=bad-shape', 'reason=', 'limit=0', 'x=1'])
    expectProblem(await served.call({ path: `/quarantine?${query}` }), 400, 'bad-input');
  expectProblem(await served.call({ path: '/quarantine?cursor=abc' }), 400, 'bad-cursor');
});
