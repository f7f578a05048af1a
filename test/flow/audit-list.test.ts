// The audit trail, as it is read and as it ends.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditActions } from '../../src/core/audit.ts';
import { SessionId, UserId } from '../../src/core/ids.ts';
import { auditTrimRowsMax, listAudit, recordAudit, trimAudit } from '../../src/store/audit.ts';
import { openPool } from '../../src/store/database.ts';
import { transact } from '../../src/store/transact.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { readPages } from '../support/http.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

let database: TestDatabase;
let willow: Willow;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(
    `insert into audit (at, actor, action, target, detail)
     select now(), 'key:' || n % 3, case n % 2 when 0 then 'user.kicked' else 'key.removed' end, 'user:' || n % 5, '{}'
     from generate_series(1, 40) n`,
  );
  willow = await startWillow({ DATABASE_URL: database.url, ROLES: 'api' });
});
afterAll(async () => {
  await willow[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

type Entry = {
  readonly id: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: Readonly<Record<string, unknown>>;
};

const trail = async (query = '') =>
  (await willow.get<{ data: readonly Entry[] }>(`/audit?limit=1000${query}`)).body.data;

describe('the trail is read', () => {
  test('newest first, page by page, each entry once, as a whole and by actor, action and target', async () => {
    const all = await trail();
    expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).toSorted((a, b) => b - a));
    const { items, pages } = await readPages<Entry>(`${willow.http}/audit`, 3);
    expect(items).toEqual(all);
    expect(pages).toBe(14);
    for (const { actor, action, target } of all) {
      const sameTarget = await trail(`&target=${encodeURIComponent(target)}`);
      expect(sameTarget).toEqual(all.filter((entry) => entry.target === target));
      const same = await trail(`&action=${action}&actor=${actor}`);
      expect(same).toEqual(all.filter((entry) => entry.action === action && entry.actor === actor));
    }
    expect(await trail('&target=user:nobody')).toEqual([]);
  });

  test('by index, however large it is and whatever is asked', async () => {
    await using own = await createDatabase();
    await own.pool.query(
      `insert into audit (at, actor, action, target, detail)
       select now(), 'key:' || n % 50, 'action-' || n % 7, 'user:' || n, '{}' from generate_series(1, 20000) n`,
    );
    await own.pool.query('analyze');
    const pool = openPool(own.url, { connectionsMax: 1, statementMsMax: 20_000, onError: () => {} });
    try {
      const asked: { text: string; values: unknown[] }[] = [];
      const watching = Object.create(pool) as typeof pool;
      const query = pool.query.bind(pool) as (statement: unknown) => Promise<unknown>;
      watching.query = ((statement: { text: string; values: unknown[] }) => {
        asked.push(statement);
        return query(statement);
      }) as typeof pool.query;
      const none = { actor: null, action: null, target: null };
      for (const before of [null, 500]) {
        await listAudit(watching, none, { limit: 101, before });
        await listAudit(watching, { ...none, actor: 'key:7' }, { limit: 101, before });
        await listAudit(watching, { ...none, action: 'action-3' }, { limit: 101, before });
        await listAudit(watching, { ...none, target: 'user:9' }, { limit: 101, before });
      }
      await trimAudit(watching);
      for (const { text, values } of asked) {
        const { rows } = await pool.query<{ 'QUERY PLAN': unknown }>({ text: `explain (format json) ${text}`, values });
        const plan = JSON.stringify(rows);
        expect(plan, text).not.toMatch(/Seq Scan|"Sort"/);
        expect(plan, text).toContain('Index');
      }
    } finally {
      await pool.end();
    }
  });
});

test('entries are kept for 400 days, and then go, some at a time; those of yesterday stay', async () => {
  await using own = await createDatabase();
  const rows = 2 * auditTrimRowsMax + 1;
  await own.pool.query(
    `insert into audit (at, actor, action, target, detail)
     select now() - interval '400 days 1 minute', 'api-key', 'user.kicked', 'user:old', '{}' from generate_series(1, $1::int)`,
    [rows],
  );
  await own.pool.query(
    `insert into audit (at, actor, action, target, detail)
     values (now() - interval '399 days', 'api-key', 'user.kicked', 'user:young', '{}')`,
  );
  const pool = openPool(own.url, { connectionsMax: 1, statementMsMax: 20_000, onError: () => {} });
  try {
    const actor = 'loopback';
    const entry = { actor, action: 'user.erased', target: `user:${UserId.parse('ada')}`, detail: {} } as const;
    await transact(pool, (tx) => recordAudit(tx, entry));
    expect(await trimAudit(pool)).toBe(auditTrimRowsMax);
    // The rest is left to the process.
    await using trimming = await startWillow({ DATABASE_URL: own.url, ROLES: 'api' });
    const left = await until('the rest is trimmed', async () => {
      const { body } = await trimming.get<{ data: readonly Entry[] }>('/audit?limit=1000');
      return body.data.length <= 2 && body.data;
    });
    expect(left.map(({ target }) => target)).toEqual(['user:ada', 'user:young']);
    expect(await trimAudit(pool)).toBe(0);
  } finally {
    await pool.end();
  }
});

test('an entry can be made for every action, about ids of any length', async () => {
  const longest = '💥'.repeat(256);
  const pool = openPool(database.url, { connectionsMax: 1, statementMsMax: 20_000, onError: () => {} });
  try {
    const target = `user:${UserId.parse(longest)}` as const;
    const detail = { sessionId: SessionId.parse(longest) };
    for (const action of auditActions) {
      await transact(pool, (tx) => recordAudit(tx, { actor: 'api-key', action, target, detail }));
    }
    const found = await trail(`&target=${encodeURIComponent(target)}`);
    expect(found.map(({ action }) => action).toReversed()).toEqual([...auditActions]);
    expect(found[0]?.detail).toEqual(detail);
  } finally {
    await pool.end();
  }
});
