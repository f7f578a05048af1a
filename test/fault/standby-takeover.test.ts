// Of two processes with one client id one listens and the other stands by; when the first goes, the second goes on where it was.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { drain, expectLog, expectMetricsToAddUp, readSoundLog } from './broker-witness.ts';
import { expectWholeLog, linkStateOf, loseSome, type Pair, startPair } from './standby-pair.ts';
import { startStorm } from './standby-storm.ts';

/** The lease of the listener is 4 s; the rest is for a slow machine. */
const takeoverMsMax = 20_000;

let pair: Pair;

beforeEach(async () => {
  pair = await startPair();
});

afterEach(async () => {
  await pair[Symbol.asyncDispose]();
});

test('one listens and one stands by, both are ready, and both answer alike', async () => {
  const { first, second, mosquitto, database } = pair;
  expect(await linkStateOf(first)).toEqual({ status: 200, state: 'listening' });
  expect(await linkStateOf(second)).toEqual({ status: 200, state: 'standing-by' });
  await using storm = await startStorm(mosquitto.url);
  for (const userId of ['user-0', 'nobody']) {
    const alike = await until('two answers at one moment', async () => {
      const before = await first.presence(userId);
      const other = await second.presence(userId);
      const isUnmoved = JSON.stringify(await first.presence(userId)) === JSON.stringify(before);
      return isUnmoved && { before, other };
    });
    expect(alike.other).toEqual(alike.before);
    expect(alike.other).toMatchObject({ stale: false, asOf: expect.any(String) as string });
  }
  const messages = await storm.end();
  await drain(mosquitto.url, first);
  expectLog(await readSoundLog(database.pool), messages);
  expect(await second.metric('willow_messages_total')).toBe(0);
});

test('a listener that is killed is replaced within seconds, and nothing is lost or doubled', async ({ annotate }) => {
  const { first, second, mosquitto } = pair;
  await using storm = await startStorm(mosquitto.url);
  await loseSome(pair);
  const killedAtMs = performance.now();
  await first.child.end('SIGKILL');
  await second.logged('link.up');
  const takeoverMs = performance.now() - killedAtMs;
  await annotate(`SIGKILL to listening: ${Math.round(takeoverMs)} ms`);
  expect(takeoverMs).toBeLessThan(takeoverMsMax);
  await expectWholeLog(pair, await storm.end());
  await expectMetricsToAddUp(second);
});

test('a listener that is told to end hands over at once, without waiting for its lease', async ({ annotate }) => {
  const { first, second, mosquitto, database } = pair;
  await using storm = await startStorm(mosquitto.url);
  await loseSome(pair);
  const toldAtMs = performance.now();
  expect(await first.child.end('SIGTERM')).toBe(0);
  const { rows } = await database.pool.query('select from links where token = 1 and lease_until > clock_timestamp()');
  expect(rows, 'leases of a process that has ended').toHaveLength(0);
  await second.logged('link.up');
  const takeoverMs = performance.now() - toldAtMs;
  await annotate(`SIGTERM to listening: ${Math.round(takeoverMs)} ms`);
  await expectWholeLog(pair, await storm.end());
  await expectMetricsToAddUp(second);
});
