// Several events in one request: which they are is fixed before the first try, and one that is refused does not cost the others.

import { expect, test } from 'vitest';
import { batchIdOf, laneOf } from '../../src/webhooks/message.ts';
import { type Delivery, withoutRepeats } from '../support/receiver.ts';
import { attemptsWhen, call, handOver, headOf, parkedWhen, playWebhooks } from '../support/webhooks.ts';

const play = playWebhooks();

const positionsOf = ({ events }: Delivery) => events.map(({ position }) => position);

/** So many users come online, and the log has it: two events each. Returns where it ended before. */
async function pileUp(name: string, users: number): Promise<number> {
  const before = await headOf(play.stage);
  const userIds = Array.from({ length: users }, (_, index) => `${name}-${index}`);
  await Promise.all(userIds.map((userId) => play.login(userId)));
  for (const userId of userIds) await play.willow.presenceWhen(userId, ({ status }) => status === 'online');
  return before;
}

test('what has piled up comes as batches, oldest first, of at most so many; one that is left comes by itself', async () => {
  const after = await pileUp('many', 61);
  const id = await play.hook({ after, lanes: 1, maxBatch: 100, events: ['session.started', 'session.ended'] });
  await play.receiver.takenWhen(61);
  await play.will('many-7');
  const events = await play.receiver.takenWhen(62);
  const deliveries = play.receiver.deliveries();
  expect(positionsOf(deliveries[0] as Delivery)).toHaveLength(61);
  expect(deliveries).toHaveLength(2);
  expect(events.map(({ position }) => position)).toEqual(
    events.map(({ position }) => position).toSorted((a, b) => a - b),
  );
  const [batch, single] = deliveries as [Delivery, Delivery];
  expect(batch.id).toBe(batchIdOf(id, positionsOf(batch)));
  expect(JSON.parse(batch.body)).toMatchObject({ type: 'batch', timestamp: batch.events.at(-1)?.at });
  expect(single).toMatchObject({ type: 'session.ended', id: `${id}_${events.at(-1)?.position}` });
});

test('a batch is of one lane, so that a user is in one request at a time', async () => {
  const after = await pileUp('lanes', 40);
  await play.hook({ after, lanes: 8, maxBatch: 5 });
  await play.receiver.takenWhen(80);
  const deliveries = play.receiver.deliveries();
  expect(withoutRepeats(deliveries)).toHaveLength(80);
  expect(Math.max(...deliveries.map(({ events }) => events.length))).toBe(5);
  const lastOfLane = new Map<number, number>();
  for (const delivery of deliveries) {
    const lanes = new Set(delivery.events.map(({ userId }) => laneOf(userId as never, 8)));
    expect(lanes.size).toBe(1);
    const [lane = -1] = lanes;
    for (const position of positionsOf(delivery)) {
      expect(position).toBeGreaterThan(lastOfLane.get(lane) ?? 0);
      lastOfLane.set(lane, position);
    }
  }
  expect(lastOfLane.size).toBe(8);
});

test('a batch is the same on every try, whatever happens meanwhile, in another process too', async () => {
  const after = await pileUp('again', 5);
  let isAway = true;
  play.receiver.answer(() => (isAway ? 503 : 204));
  const id = await play.hook({ after, lanes: 1, maxBatch: 100 });
  await attemptsWhen(play.willow, id, 1);
  await pileUp('meanwhile', 3);
  await call(play.willow, 'PATCH', `/webhooks/${id}`, { description: 'somebody looked at it' });
  await attemptsWhen(play.willow, id, 2);
  isAway = false;
  await handOver(play.stage, id);
  await play.receiver.takenWhen(16);
  const [first, second, third, next, ...more] = play.receiver.deliveries();
  expect(first?.events).toHaveLength(10);
  expect(second).toMatchObject({ id: first?.id, body: first?.body });
  expect(third).toMatchObject({ id: first?.id, body: first?.body });
  expect(next?.events).toHaveLength(6);
  expect(more).toEqual([]);
});

test('a batch that is refused is sent event by event at once, and only the bad one is parked, after three tries', async () => {
  const after = await pileUp('mixed', 6);
  const isBad = ({ events }: Delivery) => events.some(({ userId }) => userId === 'mixed-3');
  play.receiver.answer((delivery) => (isBad(delivery) ? 422 : 204));
  const id = await play.hook({ after, lanes: 1, maxBatch: 100, events: ['user.online'] });
  // The batch, and then one by one up to the bad one.
  const tried = await attemptsWhen(play.willow, id, 5);
  expect(tried.map(({ outcome, count }) => `${count} ${outcome}`)).toEqual([
    '1 refused',
    '1 delivered',
    '1 delivered',
    '1 delivered',
    '6 refused',
  ]);
  await handOver(play.stage, id);
  await attemptsWhen(play.willow, id, 6);
  await pileUp('behind', 4);
  await handOver(play.stage, id);
  const events = await play.receiver.takenWhen(9);
  const order = events.map(({ position }) => position);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(events.map(({ userId }) => userId)).not.toContain('mixed-3');
  const [parked] = await parkedWhen(play.willow, id, 1);
  expect(parked).toMatchObject({ reason: 'refused', attempts: 3, status: 422, event: { userId: 'mixed-3' } });
  // Behind what the batch held there are batches again.
  expect(play.receiver.deliveries().at(-1)?.type).toBe('batch');
});
