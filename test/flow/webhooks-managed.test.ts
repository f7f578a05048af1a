// What a person does to an endpoint (replay, pause, enable, remove, more lanes), and what its receiver does by saying 410: nothing is left out.

import { expect, test } from 'vitest';
import { withoutRepeats } from '../support/receiver.ts';
import { until } from '../support/until.ts';
import { attemptsWhen, call, handOver, headOf, playWebhooks, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();

const post = (path: string, body?: object) => call(play.willow, 'POST', `/webhooks/${path}`, body && { ...body });

test('a replay sends again what was sent, under the same ids and byte for byte: after a position, or since a time', async () => {
  const id = await play.hook({ lanes: 4 });
  for (const userId of ['r1', 'r2', 'r3']) await play.login(userId);
  const events = await play.receiver.takenWhen(6);
  const texts = () => play.receiver.deliveries().map((delivery) => `${delivery.id} ${delivery.body}`);
  const sent = texts().toSorted();
  const positions = events.map(({ position }) => position).toSorted((a, b) => a - b);
  // What is sent and not recorded yet is still owed, and no replay skips it.
  const recorded = () => until('all recorded', async () => (await webhookOf(play.willow, id)).lag.events === 0);

  await recorded();
  await post(`${id}/replay`, { after: (positions[0] ?? 0) - 1 });
  await play.receiver.takenWhen(12);
  expect(texts().slice(6).toSorted()).toEqual(sent);

  await recorded();
  await post(`${id}/replay`, { after: positions[3] ?? 0 });
  await play.receiver.takenWhen(14);
  const again = play.receiver.deliveries().slice(12);
  const ids = positions.slice(4).map((position) => `${id}_${position}`);
  expect(again.map((delivery) => delivery.id).toSorted()).toEqual(ids.toSorted());

  const since = events.find(({ position }) => position === positions[4])?.at;
  const expected = events.filter(({ at }) => at >= (since ?? '')).length;
  expect(expected).toBeGreaterThan(0);
  await recorded();
  await post(`${id}/replay`, { since });
  await play.receiver.takenWhen(14 + expected);
  expect((await webhookOf(play.willow, id)).lanes).toBe(4);
});

test('a replay in the middle of a delivery begins anew, and what was under way does not move the new place', async () => {
  let hold: Promise<void> | null = null;
  const { promise, resolve: release } = Promise.withResolvers<void>();
  play.receiver.answer(async () => {
    await hold;
    return 204;
  });
  const before = await headOf(play.stage);
  const id = await play.hook({ lanes: 1 });
  await play.login('held');
  await play.receiver.takenWhen(2);
  hold = promise;
  await play.login('held-too');
  await play.receiver.deliveredWhen(3);
  await post(`${id}/replay`, { after: before });
  release();
  await until('the end of the log', async () => (await webhookOf(play.willow, id)).lag.events === 0);
  // In the end the receiver has had all of it, from the place that was named.
  const positions = play.receiver.deliveries().flatMap(({ events }) => events.map(({ position }) => position));
  const all = Array.from({ length: 4 }, (_, index) => before + 1 + index);
  expect(positions.slice(0, 3)).toEqual(all.slice(0, 3));
  expect(positions.slice(-4)).toEqual(all);
});

test('a replay from beyond what was sent skips nothing: what is owed is sent, of an endpoint that fails and of one that is paused', async () => {
  let status = 500;
  play.receiver.answer(() => status);
  const failing = await play.hook({ lanes: 2 });
  const paused = await play.hook({ lanes: 2, url: new URL('/paused', play.receiver.url).href });
  await call(play.willow, 'PATCH', `/webhooks/${paused}`, { enabled: false });
  for (const userId of ['o1', 'o2']) await play.login(userId);
  await play.willow.presenceWhen('o2', ({ status: is }) => is === 'online');
  await attemptsWhen(play.willow, failing, 1);
  const head = await headOf(play.stage);
  for (const id of [failing, paused]) {
    for (const from of [{ since: '2100-01-01T00:00:00Z' }, { after: head }]) {
      expect(await post(`${id}/replay`, from)).toMatchObject({ status: 200, body: { lag: { position: head - 4 } } });
    }
  }
  status = 204;
  await post(`${paused}/enable`);
  await post(`${failing}/enable`);
  await play.receiver.takenWhen(8);
  for (const path of ['/hook', '/paused']) {
    const taken = withoutRepeats(play.receiver.deliveries().filter((delivery) => delivery.path === path));
    const positions = taken.map(({ position }) => position).toSorted((a, b) => a - b);
    expect(positions).toEqual([1, 2, 3, 4].map((n) => head - 4 + n));
  }
});

test('a paused endpoint is sent nothing, and goes on from its place when it is enabled, however it is enabled', async () => {
  const id = await play.hook({ lanes: 1 });
  const set = (enabled: boolean) => call(play.willow, 'PATCH', `/webhooks/${id}`, { enabled });
  await play.login('p1');
  await play.receiver.takenWhen(2);
  const enable = [() => set(true), () => post(`${id}/enable`)];
  for (const [round, enableIt] of enable.entries()) {
    expect((await set(false)).body).toMatchObject({ status: 'disabled', disabledReason: 'paused' });
    await until('no lane is run', async () => {
      const { rows } = await play.stage.database.pool.query(
        'select from lanes where endpoint_id = $1 and holder is not null',
        [id],
      );
      return rows.length === 0;
    });
    const taken = play.receiver.taken().length;
    await play.login(`p2-${round}`);
    await play.willow.presenceWhen(`p2-${round}`, ({ status }) => status === 'online');
    expect((await webhookOf(play.willow, id)).lag.events).toBe(2);
    expect(play.receiver.deliveries()).toHaveLength(taken);
    expect((await enableIt()).body).toMatchObject({ status: 'enabled', disabledReason: null });
    await play.receiver.takenWhen(taken + 2);
  }
  const ids = play.receiver.deliveries().map((delivery) => delivery.id);
  expect(new Set(ids).size).toBe(ids.length);
});

test('an endpoint that says 410 is disabled at once and not called again; enabled, it goes on with that very event', async () => {
  let isGone = true;
  play.receiver.answer(() => (isGone ? 410 : 204));
  const id = await play.hook({ lanes: 1 });
  await play.login('g1');
  await until('disabled', async () => (await webhookOf(play.willow, id)).disabledReason === 'gone');
  await play.login('g2');
  await play.willow.presenceWhen('g2', ({ status }) => status === 'online');
  expect(await webhookOf(play.willow, id)).toMatchObject({ status: 'disabled', lag: { events: 4 } });
  const [attempt, ...more] = await attemptsWhen(play.willow, id, 1);
  expect(attempt).toMatchObject({ outcome: 'gone', status: 410, detail: 'answered 410' });
  expect(more).toEqual([]);
  isGone = false;
  await post(`${id}/enable`);
  expect((await play.receiver.takenWhen(4)).map(({ userId }) => userId)).toEqual(['g1', 'g1', 'g2', 'g2']);
  const deliveries = play.receiver.deliveries();
  expect(deliveries).toHaveLength(5);
  expect(deliveries[1]?.id).toBe(deliveries[0]?.id);
});

test('a removed endpoint is sent nothing more, whatever it was owed', async () => {
  play.receiver.answer(({ path }) => (path === '/removed' ? 503 : 204));
  const removed = await play.hook({ url: new URL('/removed', play.receiver.url).href, lanes: 1 });
  await play.login('d1');
  await attemptsWhen(play.willow, removed, 1);
  await handOver(play.stage, removed);
  await attemptsWhen(play.willow, removed, 2);
  expect((await call(play.willow, 'DELETE', `/webhooks/${removed}`)).status).toBe(204);
  // Another one, which wants the same, is not affected; what it gets shows that the sender went on.
  await play.hook({ lanes: 1 });
  for (const userId of ['d2', 'd3']) await play.login(userId);
  await play.receiver.takenWhen(4);
  const { rows } = await play.stage.database.pool.query('select from lanes where endpoint_id = $1', [removed]);
  expect(rows).toEqual([]);
  const toRemoved = play.receiver.deliveries().filter(({ path }) => path === '/removed');
  expect(toRemoved).toHaveLength(2);
});

test('while the lanes are made more and fewer under load, every user has every event, in order', async () => {
  const users = Array.from({ length: 30 }, (_, index) => `m-${index}`);
  const id = await play.hook({ lanes: 2 });
  const all = async () => {
    for (let connection = 0; connection < 6; connection += 1) {
      await Promise.all(users.map((userId) => play.login(userId)));
      await Promise.all(users.map((userId) => play.will(userId)));
    }
  };
  const saying = all();
  for (const [round, lanes] of [16, 3, 8].entries()) {
    await play.receiver.takenWhen(150 * (round + 1));
    expect((await call(play.willow, 'PATCH', `/webhooks/${id}`, { lanes })).status).toBe(200);
  }
  await saying;
  await until('all of them', () => withoutRepeats(play.receiver.deliveries()).length >= 24 * users.length);
  const events = withoutRepeats(play.receiver.deliveries());
  const wanted = Array.from({ length: 24 }, (_, index) => index + 1);
  for (const userId of users) {
    const sequences = events.filter((event) => event.userId === userId).map(({ sequence }) => sequence);
    expect(sequences, userId).toEqual(wanted);
  }
});

test('new lanes wait until the old ones have come to where they begin: a user is never in two of them', async () => {
  const users = Array.from({ length: 6 }, (_, index) => `w-${index}`);
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  play.receiver.answer(async () => {
    await released;
    return 204;
  });
  const id = await play.hook({ lanes: 1 });
  for (const userId of users) await play.login(userId);
  for (const userId of users) await play.will(userId);
  await play.willow.presenceWhen(users.at(-1) ?? '', ({ sequence }) => sequence === 4);
  await play.receiver.deliveredWhen(1);
  await call(play.willow, 'PATCH', `/webhooks/${id}`, { lanes: 8 });
  for (const userId of users) await play.login(userId);
  await play.willow.presenceWhen(users.at(-1) ?? '', ({ sequence }) => sequence === 6);
  // The old lane was taken anew, as the new ones would have been.
  const [first, again] = await play.receiver.deliveredWhen(2);
  expect(again?.id).toBe(first?.id);
  release();
  await until('all of them', () => withoutRepeats(play.receiver.deliveries()).length === 6 * users.length);
  const positions = withoutRepeats(play.receiver.deliveries()).map(({ position }) => position);
  const old = positions.slice(0, 4 * users.length);
  expect(old).toEqual(old.toSorted((a, b) => a - b));
  expect(Math.max(...old)).toBeLessThan(Math.min(...positions.slice(4 * users.length)));
  const lanes = await play.stage.database.pool.query('select from lanes where endpoint_id = $1', [id]);
  expect(lanes.rows).toHaveLength(8);
});
