import { describe, expect, test } from 'vitest';
import type { Webhook } from '../../src/http/routes/webhooks.ts';
import { atMs } from './ada.ts';
import { attempt, hook, hooks, parked } from './hook.ts';
import { expectProblem, type Served, serve } from './serve.ts';

describe('lists of webhooks are paged, each item once, in the order of the store', () => {
  async function readAll(served: Served, path: string): Promise<unknown[]> {
    const items: unknown[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const answer = await served.call({ path: `${path}?limit=7${cursor === '' ? '' : `&cursor=${cursor}`}` });
      expect(answer.status, answer.body).toBe(200);
      const page = JSON.parse(answer.body) as { data: { id: unknown }[]; nextCursor: string | null };
      items.push(...page.data.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    return items;
  }

  test('webhooks, several of the same ms', async () => {
    const all = Array.from(
      { length: 23 },
      (_, n): Webhook => ({ ...hook, id: `whe_${99 - n}`, createdAtMs: atMs - n / 5 }),
    );
    const webhooks = all.map((one) => ({ ...one, createdAtMs: Math.floor(one.createdAtMs) }));
    await using served = await serve({
      webhooks: {
        ...hooks,
        list: async ({ limit, after }) => {
          const start = after === null ? 0 : 1 + webhooks.findIndex(({ id }) => id === after.id);
          expect(after === null || webhooks[start - 1]?.createdAtMs === after.createdAtMs).toBe(true);
          return webhooks.slice(start, start + limit);
        },
      },
    });
    expect(await readAll(served, '/webhooks')).toEqual(webhooks.map(({ id }) => id));
  });

  test('attempts and parked events', async () => {
    const ids = Array.from({ length: 23 }, (_, n) => 100 - n);
    const page = <Row>(row: Row, { limit, before }: { limit: number; before: number | null }) =>
      ids
        .filter((id) => before === null || id < before)
        .slice(0, limit)
        .map((id) => ({ ...row, id }));
    await using served = await serve({
      webhooks: {
        ...hooks,
        listAttempts: async (_id, _outcome, asked) => page(attempt, asked),
        listParked: async (_id, asked) => page(parked, asked),
      },
    });
    expect(await readAll(served, '/webhooks/whe_1/attempts')).toEqual(ids);
    expect(await readAll(served, '/webhooks/whe_1/parked')).toEqual(ids);
  });

  test('a cursor of one is none of another', async () => {
    const list = async () => [hook, { ...hook, id: 'whe_2' }];
    const listAttempts = async () => [attempt, attempt];
    await using served = await serve({ webhooks: { ...hooks, list, listAttempts } });
    const cursorOf = async (path: string) =>
      (JSON.parse((await served.call({ path: `${path}?limit=1` })).body) as { nextCursor: string }).nextCursor;
    const ofHooks = await cursorOf('/webhooks');
    const ofAttempts = await cursorOf('/webhooks/whe_1/attempts');
    expectProblem(await served.call({ path: `/webhooks?cursor=${ofAttempts}` }), 400, 'bad-cursor');
    for (const cursor of [ofHooks, ofAttempts]) {
      expectProblem(await served.call({ path: `/webhooks/whe_1/parked?cursor=${cursor}` }), 400, 'bad-cursor');
    }
    expectProblem(await served.call({ path: `/webhooks/whe_1/attempts?cursor=${ofHooks}` }), 400, 'bad-cursor');
  });
});
