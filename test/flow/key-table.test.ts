// The keys in the database, and when each was last used.

import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mintKey } from '../../src/http/api-key.ts';
import { DatabaseAwayError } from '../../src/store/database.ts';
import { believedMsMax, KeyRing } from '../../src/store/key-ring.ts';
import { createKey, getKey, keysMax, lastUseMs, listKeys } from '../../src/store/keys.ts';
import { actor, openTables, type Tables } from '../support/endpoints.ts';
import { createAnyKey, stoppedClocks, watched } from '../support/key-ring.ts';

let tables: Tables;
let pool: pg.Pool;

beforeAll(async () => {
  tables = await openTables();
  ({ pool } = tables);
});
afterAll(() => tables[Symbol.asyncDispose]());

const make = () => createAnyKey(pool);

describe('the last use of a key', () => {
  const lastUseOf = async (id: string) => (await getKey(pool, id))?.lastUsedAtMs;

  test('is written apart from the request, and once a minute', async () => {
    const { id } = await make();
    const clocks = stoppedClocks();
    const { pool: counted, asked } = watched(pool);
    const ring = new KeyRing(counted, clocks);
    const use = async () => {
      await ring.find(id);
      ring.noteUse(id);
    };
    const startMs = clocks.nowMs();
    await use();
    expect(await lastUseOf(id)).toBeNull();
    await ring.writeUses();
    expect(await lastUseOf(id)).toBe(startMs);
    const writes = () => asked.filter((name) => name === 'write-last-uses').length;
    // From the next look-up on it is known, and nothing is written.
    clocks.pass(believedMsMax);
    await use();
    clocks.pass(lastUseMs - believedMsMax - 1);
    await use();
    await ring.writeUses();
    expect(writes()).toBe(1);
    clocks.pass(1);
    await use();
    await ring.writeUses();
    expect([writes(), await lastUseOf(id)]).toEqual([2, startMs + lastUseMs]);
  });

  test('that another process wrote within the minute stands', async () => {
    const { id } = await make();
    const clocks = stoppedClocks();
    const rings = [new KeyRing(pool, clocks), new KeyRing(pool, clocks)];
    for (const ring of rings) await ring.find(id);
    const firstMs = clocks.nowMs();
    for (const ring of rings) {
      ring.noteUse(id);
      await ring.writeUses();
      clocks.pass(lastUseMs / 2);
    }
    expect(await lastUseOf(id)).toBe(firstMs);
  });

  test('that cannot be written is kept for later, in bounds', async () => {
    const { id } = await make();
    const clocks = stoppedClocks();
    const broken = Object.create(pool) as pg.Pool;
    let isBroken = true;
    const writes: number[] = [];
    const query = pool.query.bind(pool) as (statement: pg.QueryConfig) => Promise<unknown>;
    broken.query = (async (statement: pg.QueryConfig) => {
      if (statement.name === 'write-last-uses') {
        if (isBroken) throw new Error('the database is away');
        const [ids = []] = statement.values as [(readonly string[])?];
        writes.push(ids.length);
      }
      return query(statement);
    }) as typeof pool.query;
    const ring = new KeyRing(broken, clocks);
    await ring.find(id);
    ring.noteUse(id);
    await expect(ring.writeUses()).rejects.toThrow(DatabaseAwayError);
    for (let n = 0; n < keysMax + 100; n += 1) ring.noteUse(`removed-${n}`);
    isBroken = false;
    await ring.writeUses();
    expect(await lastUseOf(id)).toBe(clocks.nowMs());
    await ring.writeUses();
    expect(writes).toEqual([keysMax]);
  });
});

describe('keys in the database', () => {
  test('are listed newest first, each once, page by page', async () => {
    await using own = await openTables();
    const { pool: ownPool } = own;
    const ids: string[] = [];
    for (let n = 0; n < 7; n += 1) {
      const { id, digest } = mintKey();
      await createKey(ownPool, { id, digest, name: `n${n}`, scopes: ['events:read'], expiresAtMs: null }, actor);
      ids.unshift(id);
    }
    await ownPool.query(`update api_keys set created_at = '2026-11-23T10:00:00.123Z' where id = any($1)`, [
      ids.slice(2, 5),
    ]);
    const all = await listKeys(ownPool, { limit: 100, after: null });
    const paged: string[] = [];
    for (let after = null; ; ) {
      const page: typeof all = await listKeys(ownPool, { limit: 2, after });
      paged.push(...page.map(({ id }) => id));
      const last = page.at(-1);
      if (last === undefined) break;
      after = { createdAtMs: last.createdAtMs, id: last.id } as never;
    }
    expect(paged).toEqual(all.map(({ id }) => id));
    expect(new Set(paged)).toEqual(new Set(ids));
  });

  test('are as many as there may be, however many are made at once, and hold no key', async () => {
    await using own = await openTables();
    const { pool: ownPool } = own;
    await ownPool.query(
      `insert into api_keys (id, name, scopes, digest, created_at)
         select 'k' || n, 'x', '{}', '', now() from generate_series(1, $1::int) n`,
      [keysMax - 3],
    );
    const minted = Array.from({ length: 12 }, () => mintKey());
    const made = await Promise.all(
      minted.map(({ id, digest }) =>
        createKey(ownPool, { id, digest, name: 'x', scopes: ['events:read'], expiresAtMs: null }, actor),
      ),
    );
    expect(made.filter(({ kind }) => kind === 'done')).toHaveLength(3);
    expect(made.find(({ kind }) => kind !== 'done')).toEqual({ kind: 'too-many', keysMax });
    const { rows } = await ownPool.query<{ all: string }>(
      `select string_agg(k::text, '') || (select string_agg(a::text, '') from audit a) as all from api_keys k`,
    );
    for (const { key } of minted) {
      expect(rows[0]?.all).not.toContain(key.slice(24));
      expect(rows[0]?.all).not.toContain(Buffer.from(key).toString('hex'));
    }
    const { rows: trail } = await ownPool.query<{ count: string }>('select count(*) as count from audit');
    expect(Number(trail[0]?.count)).toBe(3);
  });
});
