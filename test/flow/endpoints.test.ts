import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  changeEndpoint,
  createEndpoint,
  enableEndpoint,
  endpointsMax,
  getEndpoint,
  listEndpoints,
  removeEndpoint,
  replayEndpoint,
  rotateSecret,
} from '../../src/store/endpoints.ts';
import { getSigningEndpoint, listSigningEndpoints, openSecrets } from '../../src/store/signing.ts';
import {
  actor,
  appendEvents,
  claimAll,
  divisionsOf,
  lanesOf,
  make,
  openTables,
  record,
  sealing,
  type Tables,
  trim,
  wish,
} from '../support/endpoints.ts';
import { until } from '../support/until.ts';

let tables: Tables;
beforeAll(async () => {
  tables = await openTables();
  await appendEvents(
    tables.pool,
    Array.from({ length: 100 }, (_, n) => n),
  );
});
afterAll(() => tables[Symbol.asyncDispose]());

const hourMs = 3_600_000;

describe('a new endpoint', () => {
  test('starts at the end of the log, with lanes that nobody holds, and shows what it was told', async () => {
    const { pool } = tables;
    const { endpoint, secret } = await make(pool, { description: 'billing', events: ['user.offline'], maxBatch: 20 });
    expect(endpoint).toMatchObject({ ...wish, description: 'billing', events: ['user.offline'], maxBatch: 20 });
    expect(endpoint).toMatchObject({ disabledReason: null, previousSecretUntilMs: null, position: 100, head: 100 });
    expect(endpoint.id).toMatch(/^whe_[\w-]{22}$/);
    expect(secret).toHaveLength(32);
    expect(await getEndpoint(pool, endpoint.id)).toEqual(endpoint);
    expect(await divisionsOf(pool, endpoint.id)).toEqual(['1: 4 at 100-']);
  });

  test('that is made paused is sent nothing, and has its place: what comes meanwhile is sent when it is enabled', async () => {
    await using own = await openTables();
    await appendEvents(own.pool, [1, 2]);
    const { id, ...shown } = (await make(own.pool, { isEnabled: false })).endpoint;
    expect(shown).toMatchObject({ disabledReason: 'paused', position: 2 });
    await appendEvents(own.pool, [3]);
    expect(await claimAll(own.pool, 'p1', id)).toEqual([]);
    expect(await enableEndpoint(own.pool, id, actor)).toMatchObject({
      endpoint: { disabledReason: null, position: 2 },
    });
    expect(await claimAll(own.pool, 'p1', id)).toHaveLength(4);
  });

  test('starts where it says, but not before the log or behind it', async () => {
    await using own = await openTables();
    await appendEvents(own.pool, [1, 2, 3, 4]);
    await trim(own.pool, 2);
    for (const after of [2, 3, 4]) {
      expect((await make(own.pool, { after })).endpoint).toMatchObject({ position: after, head: 4 });
    }
    const createAfter = (after: number) =>
      createEndpoint(own.pool, sealing, { ...wish, after, isEnabled: true }, actor);
    expect(await createAfter(1)).toEqual({ kind: 'gone', startsAfter: 2 });
    expect(await createAfter(5)).toEqual({ kind: 'ahead', head: 4 });
    expect(await listEndpoints(own.pool, { limit: 10, after: null })).toHaveLength(3);
  });

  test('is the last when there are as many as there may be, however many are made at once', async () => {
    await using own = await openTables();
    await own.pool.query(
      `insert into endpoints (id, url, lanes, max_batch, secret, created_at, updated_at)
       select 'whe_' || n, 'https://x', 1, 1, '', now(), now() from generate_series(1, $1::int) n`,
      [endpointsMax - 3],
    );
    const made = await Promise.all(
      Array.from({ length: 12 }, () =>
        createEndpoint(own.pool, sealing, { ...wish, after: null, isEnabled: true }, actor),
      ),
    );
    expect(made.filter(({ kind }) => kind === 'done')).toHaveLength(3);
    expect(made.find(({ kind }) => kind !== 'done')).toEqual({ kind: 'too-many', endpointsMax });
  });
});

test('endpoints are listed newest first, each once, page by page', async () => {
  await using own = await openTables();
  const made: string[] = [];
  for (let n = 0; n < 7; n += 1) made.unshift((await make(own.pool)).endpoint.id);
  await own.pool.query(`update endpoints set created_at = '2026-11-23T10:00:00.123Z' where id = any($1)`, [
    made.slice(2, 5),
  ]);
  const all = await listEndpoints(own.pool, { limit: 100, after: null });
  const listed: string[] = [];
  for (let after: (typeof all)[number] | null = null; ; ) {
    const page: typeof all = await listEndpoints(own.pool, { limit: 2, after });
    listed.push(...page.map(({ id }) => id));
    after = page.at(-1) ?? null;
    if (after === null) break;
  }
  expect(listed).toEqual(all.map(({ id }) => id));
  expect(new Set(listed)).toEqual(new Set(made));
});

describe('the secrets', () => {
  const secretsOf = async (id: string, nowMs: number) => {
    const endpoint = await getSigningEndpoint(tables.pool, id);
    if (endpoint === null) throw new Error(`${id} is gone`);
    return openSecrets(endpoint, sealing)(nowMs);
  };

  test('old and new sign for 24 hours after a rotation, and then the new one alone', async () => {
    const { pool } = tables;
    const { endpoint, secret: first } = await make(pool);
    const nowMs = Date.now();
    expect(await secretsOf(endpoint.id, nowMs)).toEqual([first]);
    const rotated = await rotateSecret(pool, sealing, endpoint.id, actor);
    if (rotated.kind !== 'done') throw new Error('not rotated');
    expect(rotated.secret).not.toEqual(first);
    const untilMs = rotated.endpoint.previousSecretUntilMs ?? 0;
    expect(untilMs).toBeGreaterThanOrEqual(nowMs + 24 * hourMs - 5_000);
    expect(untilMs).toBeLessThanOrEqual(Date.now() + 24 * hourMs + 5_000);
    expect(await secretsOf(endpoint.id, untilMs - 1)).toEqual([rotated.secret, first]);
    expect(await secretsOf(endpoint.id, untilMs)).toEqual([rotated.secret]);
    const again = await rotateSecret(pool, sealing, endpoint.id, actor);
    expect(await secretsOf(endpoint.id, untilMs - 1)).toEqual([again.kind === 'done' && again.secret, rotated.secret]);
    await pool.query(`update endpoints set previous_until = now() where id = $1`, [endpoint.id]);
    expect(await getEndpoint(pool, endpoint.id)).toMatchObject({ previousSecretUntilMs: null });
  });

  test('are told to nobody but the one who makes or rotates', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool);
    const shown = [
      await getEndpoint(pool, endpoint.id),
      await changeEndpoint(pool, endpoint.id, { description: 'x' }, actor),
      await enableEndpoint(pool, endpoint.id, actor),
      await replayEndpoint(pool, endpoint.id, 0, actor),
    ];
    expect(JSON.stringify(shown)).not.toMatch(/secret"/i);
    expect(await rotateSecret(pool, sealing, 'whe_nobody', actor)).toEqual({ kind: 'unknown' });
  });
});

describe('a change', () => {
  test('changes what it names, and grows the revision', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool, { description: 'old', events: ['user.online'] });
    const before = await getSigningEndpoint(pool, endpoint.id);
    const changed = await changeEndpoint(pool, endpoint.id, { description: null, maxBatch: 7 }, actor);
    expect(changed).toMatchObject({
      kind: 'done',
      endpoint: { description: null, maxBatch: 7, events: ['user.online'] },
    });
    expect(await changeEndpoint(pool, endpoint.id, { events: null }, actor)).toMatchObject({
      endpoint: { events: null },
    });
    expect((await getSigningEndpoint(pool, endpoint.id))?.revision).toBe((before?.revision ?? 0) + 2);
    expect(await changeEndpoint(pool, 'whe_nobody', { maxBatch: 1 }, actor)).toEqual({ kind: 'unknown' });
  });

  test('of many at once loses none: each has its own field, and all are there in the end', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool);
    const changes = [
      ...[5, 6, 7, 8, 9].map((lanes) => ({ lanes })),
      ...[11, 12, 13].map((maxBatch) => ({ maxBatch })),
      { description: 'kept' },
      { events: ['user.offline' as const] },
      { url: 'https://example.org/' },
    ];
    const done = await Promise.all(changes.map((change) => changeEndpoint(pool, endpoint.id, change, actor)));
    expect(done.map(({ kind }) => kind)).toEqual(changes.map(() => 'done'));
    const after = await getEndpoint(pool, endpoint.id);
    expect(after).toMatchObject({ description: 'kept', events: ['user.offline'], url: 'https://example.org/' });
    expect([11, 12, 13]).toContain(after?.maxBatch);
    const [running, waiting, ...more] = await divisionsOf(pool, endpoint.id);
    expect(running).toBe('1: 4 at 100-100');
    expect(waiting).toMatch(new RegExp(`^\\d: ${after?.lanes} at 100-$`));
    expect(more).toEqual([]);
  });

  test('is told on the channel, when it is there to be read', async () => {
    const { pool, database } = tables;
    const listener = new pg.Client({ connectionString: database.url });
    await listener.connect();
    const told: (string | undefined)[] = [];
    listener.on('notification', ({ payload }) => told.push(payload));
    await listener.query('listen willow_endpoints');
    try {
      const { endpoint } = await make(pool);
      const { id } = endpoint;
      const acts = [
        () => changeEndpoint(pool, id, { maxBatch: 3 }, actor),
        () => rotateSecret(pool, sealing, id, actor),
        () => enableEndpoint(pool, id, actor),
        () => replayEndpoint(pool, id, 0, actor),
        () => removeEndpoint(pool, id, actor),
      ];
      for (const [index, act] of acts.entries()) {
        await act();
        await until(`notification ${index + 2}`, () => told.length === index + 2);
      }
      expect(told).toEqual(Array.from({ length: 6 }, () => id));
    } finally {
      await listener.end();
    }
  });

  test('of the URL is tried at once', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool);
    await pool.query(
      `update lanes set attempts = 4, first_failed_at = now(), next_at = now() + interval '5 min' where endpoint_id = $1`,
      [endpoint.id],
    );
    const dueOf = async (): Promise<unknown> => {
      const { rows } = await pool.query<{ due: boolean }>(
        `select bool_and(attempts = 0 and first_failed_at is null and next_at <= clock_timestamp()) as due
         from lanes where endpoint_id = $1`,
        [endpoint.id],
      );
      return rows;
    };
    await changeEndpoint(pool, endpoint.id, { maxBatch: 2, url: endpoint.url }, actor);
    expect(await dueOf()).toEqual([{ due: false }]);
    await changeEndpoint(pool, endpoint.id, { url: 'https://example.org/' }, actor);
    expect(await dueOf()).toEqual([{ due: true }]);
  });
});

describe('an endpoint that is disabled', () => {
  test('sends nothing, keeps its place, and goes on from there at once', async () => {
    const { pool } = tables;
    const { endpoint } = await make(pool, { after: 10 });
    const { id } = endpoint;
    const isSending = async () => (await listSigningEndpoints(pool)).some((one) => one.id === id);
    expect(await isSending()).toBe(true);
    expect(await changeEndpoint(pool, id, { isEnabled: false }, actor)).toMatchObject({
      endpoint: { disabledReason: 'paused' },
    });
    expect(await isSending()).toBe(false);
    expect(await claimAll(pool, 'p1', id)).toEqual([]);
    await pool.query(`update lanes set attempts = 9, next_at = now() + interval '5 min' where endpoint_id = $1`, [id]);
    await pool.query(`update endpoints set disabled_reason = 'failing', failing_since = now() where id = $1`, [id]);
    expect(await changeEndpoint(pool, id, { isEnabled: false }, actor)).toMatchObject({
      endpoint: { disabledReason: 'failing' },
    });
    const enabled = await enableEndpoint(pool, id, actor);
    expect(enabled).toMatchObject({ endpoint: { disabledReason: null, failingSinceMs: null, position: 10 } });
    expect((await lanesOf(pool, id)).map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0]);
    expect(await isSending()).toBe(true);
    expect(await enableEndpoint(pool, 'whe_nobody', actor)).toEqual({ kind: 'unknown' });
  });

  test('is not enabled into a gap: the log has gone on without it, and it is told where', async () => {
    await using own = await openTables();
    const { pool } = own;
    await appendEvents(pool, [1, 2, 3]);
    const { endpoint } = await make(pool, { after: 0 });
    await changeEndpoint(pool, endpoint.id, { isEnabled: false }, actor);
    await trim(pool, 2);
    expect(await enableEndpoint(pool, endpoint.id, actor)).toEqual({ kind: 'gone', startsAfter: 2 });
    const change = { isEnabled: true, description: 'not this either' };
    expect(await changeEndpoint(pool, endpoint.id, change, actor)).toEqual({ kind: 'gone', startsAfter: 2 });
    expect(await getEndpoint(pool, endpoint.id)).toMatchObject({ disabledReason: 'paused', description: null });
    await replayEndpoint(pool, endpoint.id, 2, actor);
    expect(await enableEndpoint(pool, endpoint.id, actor)).toMatchObject({ kind: 'done', endpoint: { position: 2 } });
  });
});

test('what is removed is gone with all it had, and its lanes are nobody’s', async () => {
  const { pool } = tables;
  const { endpoint } = await make(pool);
  const held = await claimAll(pool, 'p1', endpoint.id);
  expect(await removeEndpoint(pool, endpoint.id, actor)).toBe(true);
  expect(await removeEndpoint(pool, endpoint.id, actor)).toBe(false);
  expect(await getEndpoint(pool, endpoint.id)).toBeNull();
  expect(await lanesOf(pool, endpoint.id)).toEqual([]);
  expect(await record(pool, held, 100)).toBe(0);
});
