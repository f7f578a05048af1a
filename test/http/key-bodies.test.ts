import { describe, expect, test } from 'vitest';
import { auditActions } from '../../src/core/audit.ts';
import { scopes } from '../../src/http/instance.ts';
import type { AuditRecord } from '../../src/http/routes/audit.ts';
import type { ApiKey } from '../../src/http/routes/keys.ts';
import { atMs } from './ada.ts';
import { expectField, send } from './hook-calls.ts';
import { apiKey, keys } from './keys.ts';
import { expectProblem, type Served, serve } from './serve.ts';

type KeyAnswer = Readonly<Record<string, unknown>> & { readonly id: string; readonly key: string };

describe('a new key', () => {
  test('is shown once: one word, with the id that it is listed under, and a digest of it is all that is kept', async () => {
    const wishes: { readonly id: string; readonly digest: Buffer }[] = [];
    const create: typeof keys.create = async (wish, caller) => {
      wishes.push(wish);
      return keys.create(wish, caller);
    };
    await using served = await serve({ keys: { ...keys, create } });
    const all = { name: 'billing', scopes: ['presence:read', 'events:read'], expiresAt: '9999-12-31T23:59:59+02:00' };
    const answer = await send(served, 'POST', '/keys', all);
    expect(answer.status, answer.body).toBe(201);
    const { id, key, ...shown } = JSON.parse(answer.body) as KeyAnswer;
    expect(key).toMatch(/^willow_[0-9a-f]{16}_[0-9a-f]{64}$/);
    expect(key.split('_')[1]).toBe(id);
    expect(answer.headers.location).toBe(`/keys/${id}`);
    expect(shown).toEqual({
      name: 'billing',
      scopes: ['presence:read', 'events:read'],
      createdAt: '2026-11-23T10:00:00.000Z',
      expiresAt: '9999-12-31T21:59:59.000Z',
      lastUsedAt: null,
    });
    const secret = key.slice(24);
    expect(JSON.stringify(wishes)).not.toContain(secret);
    expect(wishes[0]?.digest).toHaveLength(32);
    expect(served.logText()).not.toContain(secret);
    const others = await Promise.all(Array.from({ length: 20 }, () => send(served, 'POST', '/keys', all)));
    expect(new Set(others.map(({ body }) => (JSON.parse(body) as KeyAnswer).key)).size).toBe(20);
  });

  test.each([
    ['name', {}],
    ['name', { name: '' }],
    ['name', { name: 7 }],
    ['name', { name: 'x'.repeat(257) }],
    ['name', { name: 'a\u0000b' }],
    ['name', { name: '\ud800' }],
    ['scopes', { scopes: undefined }],
    ['scopes', { scopes: [] }],
    ['scopes', { scopes: 'presence:read' }],
    ['scopes', { scopes: Array.from({ length: 8 }, () => 'presence:read') }],
    ['scopes/1', { scopes: ['presence:read', 'everything'] }],
    ['scopes/0', { scopes: ['*'] }],
    ['expiresAt', { expiresAt: 'tomorrow' }],
    ['expiresAt', { expiresAt: '2026-01-01' }],
    ['expiresAt', { expiresAt: '2020-01-01T00:00:00Z' }],
    ['expiresAt', { expiresAt: 4_102_444_800_000 }],
    ['id', { id: '1f0c8e5a9b3d7246' }],
    ['key', { key: 'willow' }],
  ] as const)('with a wrong %s is refused with a sentence: %j', async (field, wrong) => {
    await using served = await serve({
      keys: { ...keys, create: () => Promise.reject(new Error('the port was reached')) },
    });
    const base = { name: 'billing', scopes: ['presence:read'] };
    const wanted = field === 'name' && !('name' in wrong) ? { scopes: base.scopes } : { ...base, ...wrong };
    expectField(await send(served, 'POST', '/keys', wanted), field);
  });

  test('expires in the future, or never, and a scope that is named twice is one', async () => {
    const wishes: unknown[] = [];
    const create: typeof keys.create = async (wish, caller) => {
      wishes.push({ scopes: wish.scopes, expiresAtMs: wish.expiresAtMs });
      return keys.create(wish, caller);
    };
    await using served = await serve({ keys: { ...keys, create } });
    const inAnHourMs = Date.now() + 3_600_000;
    for (const expiresAt of [undefined, null, new Date(inAnHourMs).toISOString()]) {
      const wanted = { name: 'x', scopes: ['keys:admin', 'keys:admin'], expiresAt };
      expect((await send(served, 'POST', '/keys', wanted)).status).toBe(201);
    }
    expect(wishes).toEqual([null, null, inAnHourMs].map((expiresAtMs) => ({ scopes: ['keys:admin'], expiresAtMs })));
    expectField(
      await send(served, 'POST', '/keys', { name: 'x', scopes, expiresAt: new Date().toISOString() }),
      'expiresAt',
    );
  });

  test('is refused when there are as many as there may be', async () => {
    await using served = await serve({ keys: { ...keys, create: async () => ({ kind: 'too-many', keysMax: 1_000 }) } });
    const answer = await send(served, 'POST', '/keys', { name: 'x', scopes: ['keys:admin'] });
    expect(expectProblem(answer, 409, 'too-many-keys').detail).toBe('at most 1000');
  });
});

test('a key shows these fields and no others', async () => {
  await using served = await serve();
  expect((await served.call({ path: '/keys/1f0c8e5a9b3d7246' })).body).toBe(
    '{"id":"1f0c8e5a9b3d7246","name":"billing","scopes":["presence:read","events:read"],' +
      '"createdAt":"2026-11-23T10:00:00.000Z","expiresAt":null,"lastUsedAt":"2026-11-23T10:01:00.000Z"}',
  );
});

test('what is unknown is 404, and an id that none can have is 400', async () => {
  await using served = await serve({ keys: { ...keys, get: async () => null, remove: async () => false } });
  for (const method of ['GET', 'DELETE']) {
    expectProblem(await served.call({ method, path: '/keys/nobody' }), 404, 'unknown-key');
    expectProblem(await served.call({ method, path: '/keys/%00' }), 400, 'bad-input');
  }
});

async function readAll(served: Served, path: string): Promise<unknown[]> {
  const items: unknown[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const answer = await served.call({ path: `${path}limit=7${cursor === '' ? '' : `&cursor=${cursor}`}` });
    expect(answer.status, answer.body).toBe(200);
    const page = JSON.parse(answer.body) as { data: { id: unknown }[]; nextCursor: string | null };
    items.push(...page.data.map(({ id }) => id));
    cursor = page.nextCursor;
  }
  return items;
}

const record: AuditRecord = {
  id: 1,
  atMs,
  actor: 'api-key',
  action: 'user.kicked',
  target: 'user:ada',
  detail: {},
};

describe('lists are paged, each item once, in the order of the store', () => {
  test('keys, several of the same ms', async () => {
    const all = Array.from(
      { length: 23 },
      (_, n): ApiKey => ({
        ...apiKey,
        id: String(99 - n),
        createdAtMs: atMs - Math.floor(n / 5),
      }),
    );
    const list: typeof keys.list = async ({ limit, after }) => {
      const start = after === null ? 0 : 1 + all.findIndex(({ id }) => id === after.id);
      expect(after === null || all[start - 1]?.createdAtMs === after.createdAtMs).toBe(true);
      return all.slice(start, start + limit);
    };
    await using served = await serve({ keys: { ...keys, list } });
    expect(await readAll(served, '/keys?')).toEqual(all.map(({ id }) => id));
    expectProblem(await served.call({ path: '/keys?cursor=bm8' }), 400, 'bad-cursor');
  });

  test('the audit trail, with the filter that was asked for on every page', async () => {
    const ids = Array.from({ length: 23 }, (_, n) => 100 - n);
    const filters = new Set<string>();
    await using served = await serve({
      audit: async (filter, { limit, before }) => {
        filters.add(JSON.stringify(filter));
        const page = ids.filter((id) => before === null || id < before).slice(0, limit);
        return page.map((id) => ({ ...record, id }));
      },
    });
    expect(await readAll(served, '/audit?')).toEqual(ids);
    expect(await readAll(served, '/audit?actor=key%3A1f0c&action=user.kicked&target=user%3A%C3%A4&')).toEqual(ids);
    expect([...filters].map((text) => JSON.parse(text) as unknown)).toEqual([
      { actor: null, action: null, target: null },
      { actor: 'key:1f0c', action: 'user.kicked', target: 'user:ä' },
    ]);
  });
});

test('the audit trail is asked in words that it knows', async () => {
  await using served = await serve();
  for (const query of [
    'action=user.left',
    'action=',
    'by=ann',
    `target=${'x'.repeat(601)}`,
    'actor=%00',
    'actor=a&actor=b',
  ]) {
    expectProblem(await served.call({ path: `/audit?${query}` }), 400, 'bad-input');
  }
  for (const action of auditActions) expect((await served.call({ path: `/audit?action=${action}` })).status).toBe(200);
  const longest = `user:${'%F0%9F%92%A5'.repeat(256)}`;
  expect((await served.call({ path: `/audit?target=${longest}` })).status).toBe(200);
});
