import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLogger } from '../../src/runtime/logger.ts';

import { type ClaimedLane, releaseLanes } from '../../src/store/lane-leases.ts';
import { writeLanes } from '../../src/store/lanes.ts';
import { Recorder } from '../../src/webhooks/recorder.ts';
import { appendEvents, claimAll, lanesOf, make, openTables, type Tables } from '../support/endpoints.ts';

let tables: Tables;

beforeAll(async () => {
  tables = await openTables();
});

afterAll(() => tables[Symbol.asyncDispose]());

const untried = { attempts: [], parked: [], succeededAtMs: null, failedAtMs: null, disabled: null, isOver: false };

test('of two records of one lane in one statement, only that of its present holder is told that it counts', async () => {
  const { pool } = tables;
  const logger = createLogger({ level: 'silent', isPretty: false });
  const { endpoint } = await make(pool, { lanes: 1, after: 0 });
  await appendEvents(pool, [0, 0]);
  const [before] = (await claimAll(pool, 'process', endpoint.id)) as [ClaimedLane];
  await releaseLanes(pool, [before]);
  const [now] = (await claimAll(pool, 'process', endpoint.id)) as [ClaimedLane];
  let statements = 0;
  const recorder = new Recorder(
    async (entries) => {
      statements += 1;
      return writeLanes(
        pool,
        entries.map(({ lane, records }) => ({ ...lane, ...untried, state: (records.at(-1) ?? records[0]).state })),
      );
    },
    { signal: new AbortController().signal, logger },
  );
  const counts = await Promise.all([
    recorder.record(before, { state: { ...before.state, position: 2 } }),
    recorder.record(now, { state: { ...now.state, position: 1 } }),
  ]);
  expect(counts).toEqual([false, true]);
  expect(statements).toBe(1);
  expect((await lanesOf(pool, endpoint.id)).map(({ position }) => position)).toEqual([1]);
});
