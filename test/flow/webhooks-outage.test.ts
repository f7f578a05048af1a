// A receiver that is away, or slow: nothing is lost, nothing is reordered, and nobody waits who does not have to.

import { expect, test } from 'vitest';
import { laneOf } from '../../src/webhooks/message.ts';
import { startRawReceiver } from '../support/raw-receiver.ts';
import { withoutRepeats } from '../support/receiver.ts';
import { countedWhen } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { attemptsWhen, call, handOver, playWebhooks, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();
const longMs = 600_000;

test('a redirect is an outage: it is not followed, and the event is kept', async () => {
  await using elsewhere = await startRawReceiver((socket) => socket.end('HTTP/1.1 204 No Content\r\n\r\n'));
  let isMoved = true;
  play.receiver.answer((_delivery, response) => {
    if (!isMoved) return 204;
    response.writeHead(302, { location: elsewhere.url }).end('moved');
    return undefined;
  });
  const id = await play.hook({ lanes: 1, events: ['user.online'] });
  await play.login('moved');
  const [attempt] = await attemptsWhen(play.willow, id, 1);
  const detail = 'answered 302; redirects are not followed';
  expect(attempt).toMatchObject({ outcome: 'failed', status: 302, detail, body: 'moved', count: 1 });
  expect((await webhookOf(play.willow, id)).failingSince).not.toBeNull();
  isMoved = false;
  await handOver(play.stage, id);
  await play.receiver.takenWhen(1);
  await attemptsWhen(play.willow, id, 2);
  expect(elsewhere.opened()).toBe(0);
  const { failingSince, lastSuccessAt } = await webhookOf(play.willow, id);
  expect([failingSince, lastSuccessAt === null]).toEqual([null, false]);
});

test('attempts show what was tried: newest first, with status, detail, answer and how long it took', async () => {
  const statuses = [500, 503, 204];
  play.receiver.answer(async (_delivery, response) => {
    const begunAtMs = performance.now();
    await until('a while', () => performance.now() - begunAtMs > 60);
    response.writeHead(statuses.shift() ?? 204).end('why it is so');
    return undefined;
  });
  const startedAtMs = Date.now();
  const id = await play.hook({ lanes: 1, events: ['user.online'] });
  await play.login('shown');
  for (const count of [1, 2]) {
    await attemptsWhen(play.willow, id, count);
    await handOver(play.stage, id);
  }
  const attempts = await attemptsWhen(play.willow, id, 3);
  const { position } = (await play.willow.events('shown'))[1] ?? { position: 0 };
  const common = { webhookId: `${id}_${position}`, firstPosition: position, lastPosition: position, count: 1 };
  const failed = { ...common, outcome: 'failed', body: 'why it is so' };
  expect(attempts).toMatchObject([
    { ...common, outcome: 'delivered', status: 204, detail: null, body: null },
    { ...failed, status: 503, detail: 'answered 503' },
    { ...failed, status: 500, detail: 'answered 500' },
  ]);
  for (const { durationMs, at } of attempts) {
    expect(durationMs).toBeGreaterThanOrEqual(60);
    expect(durationMs).toBeLessThanOrEqual(Date.now() - startedAtMs);
    expect(Date.parse(at) - durationMs).toBeGreaterThanOrEqual(startedAtMs - 1);
  }
});

// The first wait is 5 s, 20 % more or less.
test.each([
  ['that is sensible is honoured', '9', 9_000, 9_500],
  ['of an hour, up to twice the schedule', '3600', 10_000, 10_500],
  ['that is shorter does not hurry', '1', 4_000, 6_500],
])('Retry-After %s', async (_name, retryAfter, waitMsMin, waitMsMax) => {
  play.receiver.answer((_delivery, response) => {
    response.writeHead(503, { 'retry-after': retryAfter }).end();
    return undefined;
  });
  const id = await play.hook({ lanes: 1, events: ['user.online'] });
  await play.login(`patient-${retryAfter}`);
  const [attempt] = await attemptsWhen(play.willow, id, 1);
  const { rows } = await play.stage.database.pool.query<{ next_at: Date }>(
    'select next_at from lanes where endpoint_id = $1',
    [id],
  );
  const waitMs = (rows[0]?.next_at.getTime() ?? 0) - Date.parse(attempt?.at ?? '');
  expect(waitMs).toBeGreaterThanOrEqual(waitMsMin);
  expect(waitMs).toBeLessThanOrEqual(waitMsMax);
});

test.each([
  [
    'its URL is changed',
    (id: string) => call(play.willow, 'PATCH', `/webhooks/${id}`, { url: `${play.receiver.url}/b` }),
  ],
  ['it is enabled', (id: string) => call(play.willow, 'POST', `/webhooks/${id}/enable`)],
])('an endpoint that would be tried in ten minutes is tried at once when %s', async (name, change) => {
  let isAway = true;
  play.receiver.answer(({ path }) => (isAway && path === '/hook' ? 503 : 204));
  const id = await play.hook({ lanes: 1, events: ['user.online'] });
  await play.login(name);
  await attemptsWhen(play.willow, id, 1);
  await handOver(play.stage, id, longMs);
  isAway = name === 'its URL is changed';
  await change(id);
  expect((await play.receiver.takenWhen(1)).map(({ userId }) => userId)).toEqual([name]);
  expect(play.receiver.deliveries()).toHaveLength(2);
});

test("a user's events arrive in their order, each once it was taken, while the lane fails twice in the middle", async () => {
  const failures = new Map([
    [3, 2],
    [4, 1],
  ]);
  play.receiver.answer(({ events: [event] }) => {
    const left = failures.get(event?.sequence ?? 0) ?? 0;
    failures.set(event?.sequence ?? 0, left - 1);
    return left > 0 ? 500 : 204;
  });
  const id = await play.hook({ lanes: 1 });
  for (let n = 0; n < 2; n += 1) {
    await play.login('ordered');
    await play.will('ordered');
  }
  for (const count of [3, 4, 6]) {
    await attemptsWhen(play.willow, id, count);
    await handOver(play.stage, id);
  }
  await play.receiver.takenWhen(8);
  const sequences = play.receiver.deliveries().map(({ events: [event] }) => event?.sequence);
  expect(sequences).toEqual([1, 2, 3, 3, 3, 4, 4, 5, 6, 7, 8]);
});

test('a lane that is stuck holds up its eighth of the users, and nobody else', async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const users = Array.from({ length: 48 }, (_, index) => `eighth-${index}`);
  const stuck = laneOf(users[0] as never, 8);
  const others = users.filter((userId) => laneOf(userId as never, 8) !== stuck);
  expect(others.length).toBeGreaterThan(users.length / 2);
  play.receiver.answer(async ({ events: [event] }) => {
    if (event?.userId === users[0]) await released;
    return 204;
  });
  const id = await play.hook();
  for (const userId of users) await play.login(userId);
  const early = await play.receiver.takenWhen(2 * others.length);
  expect(new Set(early.map(({ userId }) => userId))).toEqual(new Set(others));
  release();
  await until('all of them', () => withoutRepeats(play.receiver.deliveries()).length === 2 * users.length);
  // The answers too are heard, and counted, before another test counts.
  await countedWhen(play.willow, 'willow_webhook_lag_events', { endpoint: id }, 0);
});

test('what is sent, how long it took and how far behind an endpoint is can be measured', async () => {
  const { willow } = play;
  const counts = async () => ({
    delivered: await willow.metric('willow_webhook_attempts_total', { outcome: 'delivered' }),
    failed: await willow.metric('willow_webhook_attempts_total', { outcome: 'failed' }),
    timed: await willow.metric('willow_webhook_delivery_seconds_count'),
  });
  const before = await counts();
  let isAway = true;
  play.receiver.answer(() => (isAway ? 503 : 204));
  const id = await play.hook({ lanes: 1 });
  await play.login('measured');
  await attemptsWhen(willow, id, 1);
  await countedWhen(willow, 'willow_webhook_lag_events', { endpoint: id }, 2);
  const lag = await willow.metric('willow_webhook_lag_seconds', { endpoint: id });
  await until(
    'a lag that grows',
    async () => (await willow.metric('willow_webhook_lag_seconds', { endpoint: id })) > lag,
  );
  isAway = false;
  await handOver(play.stage, id);
  // Where this takes long, it is tried again while it is still away.
  const failed = await until('both events delivered', async () => {
    const attempts = await attemptsWhen(willow, id, 3);
    const delivered = attempts.filter(({ outcome }) => outcome === 'delivered').length;
    return delivered === 2 && attempts.length - delivered;
  });
  expect(await counts()).toEqual({
    delivered: before.delivered + 2,
    failed: before.failed + failed,
    timed: before.timed + 2,
  });
  const isUpToDate = async (name: string) => (await willow.metric(name, { endpoint: id })) === 0;
  await until(
    'no lag',
    async () => (await isUpToDate('willow_webhook_lag_events')) && isUpToDate('willow_webhook_lag_seconds'),
  );
});
