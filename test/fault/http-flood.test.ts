// More requests than are answered, and more messages than leave time for requests: neither takes the other down with it.

import { expect, test } from 'vitest';
import { publishPairs } from '../bench/load.ts';
import { askAgainAndAgain, askOnce } from '../support/healthy-client.ts';
import { floodPipelined } from '../support/pipelined-flood.ts';
import { openStage, settled } from '../support/stage.ts';
import { until } from '../support/until.ts';

const mebibyte = 1024 * 1024;
const path = '/users/ada/presence';

test('a flood of requests is answered or refused at once, messages are heard meanwhile, and the memory stays bounded', async () => {
  await using stage = await openStage();
  const { willow, voice } = stage;
  // What is compiled and pooled once is there before the memory is measured.
  await floodPipelined(willow.http, path, { connections: 50, depth: 8, forMs: 2_000 });
  const before = await willow.metric('process_resident_memory_bytes');
  const flooding = floodPipelined(willow.http, path, { connections: 600, depth: 8, forMs: 8_000 });
  const heard = await (async () => {
    const fromMs = performance.now();
    await Promise.all(Array.from({ length: 500 }, (_, n) => voice.say('/login', { userId: `flooded-${n}`, epoch: 1 })));
    const isSettled = async () => (await willow.metric('willow_signals_total', { outcome: 'applied' })) >= 500;
    await until('the messages to be settled', isSettled);
    return performance.now() - fromMs;
  })();
  // Health and metrics are answered in the middle of it, as the count above was.
  expect((await askOnce(willow.http, '/healthz')).status).toBe(200);
  const { statuses, unanswered, slowestMs } = await flooding;
  const answered = statuses.get(200) ?? 0;
  const refused = (statuses.get(503) ?? 0) + (statuses.get(429) ?? 0);
  expect([...statuses.keys()].filter((status) => ![200, 429, 503].includes(status))).toEqual([]);
  expect(unanswered).toBe(0);
  expect(answered).toBeGreaterThan(2_000);
  expect(statuses.get(503)).toBeGreaterThan(0);
  expect(slowestMs).toBeLessThan(15_000);
  expect(heard).toBeLessThan(30_000);
  const overloaded = await willow.metric('willow_http_refused_total', { why: 'overloaded' });
  const tooMany = await willow.metric('willow_http_refused_total', { why: 'too-many-requests' });
  expect(overloaded + tooMany).toBe(refused);
  const after = await willow.metric('process_resident_memory_bytes');
  expect((after - before) / mebibyte).toBeLessThan(400);
  await until('a caller to be answered again', async () => (await askOnce(willow.http, path)).status === 200);
  await settled(willow, voice);
  expect(willow.log().filter(({ event }) => event === 'link.down' || event === 'request.failed')).toEqual([]);
});

test('while messages come in as fast as they can, nobody who reads is refused', async () => {
  await using stage = await openStage({ LOG_LEVEL: 'info' }, { inflightMax: 1_000 });
  const { willow, mosquitto } = stage;
  let isOver = false;
  const publishing = publishPairs(mosquitto.url, { users: 15_000, firstUser: 0, epoch: 1 }).finally(() => {
    isOver = true;
  });
  const waited = [];
  while (!isOver) waited.push(...(await askAgainAndAgain(willow.http, path, 5)));
  await publishing;
  expect(waited.length).toBeGreaterThanOrEqual(5);
  expect(waited.filter(({ status }) => status !== 200)).toEqual([]);
  expect(await willow.metric('willow_http_refused_total')).toBe(0);
});
