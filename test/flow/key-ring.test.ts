// What one process believes of the keys that others make, use and remove.

import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mintKey } from '../../src/http/api-key.ts';
import { DatabaseAwayError, openPool } from '../../src/store/database.ts';
import { believedAwayMsMax, believedMsMax, KeyRing } from '../../src/store/key-ring.ts';
import { createKey, keysMax, removeKey } from '../../src/store/keys.ts';
import { databaseThrough } from '../support/database-url.ts';
import { actor, openTables, type Tables } from '../support/endpoints.ts';
import { postgres } from '../support/framing.ts';
import { createAnyKey, stoppedClocks, watched } from '../support/key-ring.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

let tables: Tables;
let pool: pg.Pool;

beforeAll(async () => {
  tables = await openTables();
  ({ pool } = tables);
});
afterAll(() => tables[Symbol.asyncDispose]());

const make = () => createAnyKey(pool);

describe('a key that was found', () => {
  test('is believed for a second from when it was asked for, without another query, and not a ms longer', async () => {
    const { id, digest } = await make();
    const clocks = stoppedClocks();
    const { pool: counted, asked } = watched(pool);
    const ring = new KeyRing(counted, clocks);
    expect(await ring.find(id)).toMatchObject({ id, digest, name: 'billing', scopes: new Set(['presence:read']) });
    clocks.pass(believedMsMax - 1);
    expect(ring.find(id)).toMatchObject({ id });
    expect(asked).toHaveLength(1);
    await removeKey(pool, id, actor);
    expect(ring.find(id)).toMatchObject({ id });
    clocks.pass(1);
    expect(await ring.find(id)).toBeNull();
    expect(asked).toHaveLength(2);
  });

  test('is not believed for the time that its answer took', async () => {
    const { id } = await make();
    const clocks = stoppedClocks();
    const { pool: held, asked, hold } = watched(pool);
    const ring = new KeyRing(held, clocks);
    const release = hold();
    const found = ring.find(id);
    clocks.pass(believedMsMax);
    release();
    expect(await found).toMatchObject({ id });
    expect(await ring.find(id)).toMatchObject({ id });
    expect(asked).toHaveLength(2);
  });

  test('is forgotten at once by the process that removes it, also while a look-up from before is on its way', async () => {
    const { id } = await make();
    const { pool: held, hold, answered } = watched(pool);
    const ring = new KeyRing(held, stoppedClocks());
    await ring.find(id);
    ring.forget(id);
    const release = hold();
    const before = ring.find(id);
    // Its answer is read before the removal, and comes after it.
    await until('the answer of the database', () => answered() === 2);
    await removeKey(pool, id, actor);
    ring.forget(id);
    release();
    expect(await before).toMatchObject({ id });
    expect(await ring.find(id)).toBeNull();
  });
});

describe('a key that is not there', () => {
  test('is asked for every time, so that it is good as soon as it is made', async () => {
    const { id, digest } = mintKey();
    const ring = new KeyRing(pool, stoppedClocks());
    expect(await ring.find(id)).toBeNull();
    await createKey(pool, { id, digest, name: 'x', scopes: ['keys:admin'], expiresAtMs: null }, actor);
    expect(await ring.find(id)).toMatchObject({ id });
  });

  test('costs one query for all who ask, however many, and however many ids they try', async () => {
    const { id } = await make();
    const { pool: counted, asked, hold } = watched(pool);
    const ring = new KeyRing(counted, stoppedClocks());
    const release = hold();
    const first = ring.find(mintKey().id);
    const found = Promise.all([
      first,
      ...Array.from({ length: 3_000 }, (_, n) => ring.find(n % 10 === 0 ? id : mintKey().id)),
    ]);
    release();
    const keys = await found;
    expect(keys.filter((key) => key !== null)).toHaveLength(300);
    // A thousand at a time, one query after the other.
    expect(asked.length).toBeLessThanOrEqual(5);
  });

  test('pushes out none that is, and what is known is bounded', async () => {
    await using own = await openTables();
    const { pool: ownPool } = own;
    await ownPool.query(
      `insert into api_keys (id, name, scopes, digest, created_at)
         select 'k' || n, 'x', '{}', '', now() from generate_series(1, $1::int) n`,
      [keysMax + 10],
    );
    const { pool: counted, asked } = watched(ownPool);
    const ring = new KeyRing(counted, stoppedClocks());
    for (let n = 1; n <= keysMax + 10; n += 1) await ring.find(`k${n}`);
    for (let n = 0; n < 100; n += 1) await ring.find(mintKey().id);
    const before = asked.length;
    for (let n = 11; n <= keysMax + 10; n += 1) expect(ring.find(`k${n}`)).toMatchObject({ id: `k${n}` });
    expect(asked.length).toBe(before);
    await ring.find('k10');
    expect(asked.length).toBe(before + 1);
  });
});

test('while the database is away a key that was found is believed for five minutes, and nobody else', async () => {
  const { id } = await make();
  const stranger = await make();
  await using proxy = await startTcpProxy(Number(new URL(tables.database.url).port), postgres);
  const through = openPool(databaseThrough(proxy.port, tables.database.url), {
    connectionsMax: 4,
    statementMsMax: 20_000,
    onError: () => {},
  });
  try {
    const clocks = stoppedClocks();
    const { pool: counted, asked } = watched(through);
    const ring = new KeyRing(counted, clocks);
    expect(await ring.find(id)).toMatchObject({ id });
    proxy.judge(() => 'cut');
    proxy.cut();
    clocks.pass(believedMsMax);
    expect(await ring.find(id)).toMatchObject({ id });
    // One who asked and met the outage speaks for the others of the same second.
    const afterOne = asked.length;
    for (let n = 0; n < 10; n += 1) expect(ring.find(id)).toMatchObject({ id });
    expect(asked.length).toBe(afterOne);
    await expect(ring.find(stranger.id)).rejects.toThrow(DatabaseAwayError);
    clocks.pass(believedAwayMsMax - believedMsMax - 1);
    expect(await ring.find(id)).toMatchObject({ id });
    clocks.pass(believedMsMax);
    await expect(ring.find(id)).rejects.toThrow(DatabaseAwayError);
    expect(proxy.faults.cut).toBeGreaterThan(0);
    proxy.judge(null);
    expect(await ring.find(id)).toMatchObject({ id });
    expect(await ring.find(stranger.id)).toMatchObject({ id: stranger.id });
  } finally {
    await through.end();
  }
});
