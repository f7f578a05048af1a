import { expect, test } from 'vitest';
import { announcedWhen, countedWhen, openStage, settled } from '../support/stage.ts';

const users = 100;
const poisoned = 'user-37';

test('of 200 messages the one that the database refuses is quarantined; the others are applied in their order', async () => {
  await using stage = await openStage({ GRACE_MS: '0' }, { inflightMax: 1_000 });
  const { willow, voice, database } = stage;
  await database.pool.query(`
    create function refuse_poison() returns trigger language plpgsql as $$
    begin
      if new.user_id = '${poisoned}' and new.sequence > 2 then
        raise exception 'no' using errcode = '23514';
      end if;
      return new;
    end $$`);
  await database.pool.query(
    'create trigger poison before insert or update on users for each row execute function refuse_poison()',
  );
  const identity = (index: number) => ({ userId: `user-${index}`, sessionId: 'phone', epoch: 1 });
  const order = Array.from({ length: users }, (_, index) => index);
  // First all births, then all wills: the will of the poisoned user has a hundred and more before it, and dozens behind.
  await Promise.all([
    ...order.map((index) => voice.say('/login', identity(index))),
    ...order.map((index) => voice.say('/logout', identity(index))),
  ]);
  await settled(willow, voice);

  const { rows: quarantine } = await database.pool.query<{ reason: string; topic: string; payload: Buffer }>(
    'select reason, topic, payload from quarantine',
  );
  expect(quarantine).toMatchObject([{ reason: 'unstorable', topic: '/logout' }]);
  expect(JSON.parse(String(quarantine[0]?.payload))).toEqual(identity(37));

  const { rows: events } = await database.pool.query<{ user_id: string; type: string }>(
    `select user_id, type from events where type like 'session.%' and user_id like 'user-%' order by position`,
  );
  const told = (type: string) => events.filter((event) => event.type === type).map(({ user_id }) => user_id);
  expect(told('session.started')).toEqual(order.map((index) => `user-${index}`));
  const others = order.map((index) => `user-${index}`).filter((userId) => userId !== poisoned);
  expect(told('session.ended')).toEqual(others);
  expect(await willow.presence(poisoned)).toMatchObject({ status: 'online', sequence: 2 });

  expect(await countedWhen(willow, 'willow_messages_total', {}, voice.said())).toBe(voice.said());
  expect(await willow.metric('willow_quarantined_total', { reason: 'unstorable' })).toBe(1);
  // It stood in a batch with others, and what came with it in that batch is not counted twice.
  const culprits = willow.log().filter(({ event, quarantined }) => event === 'batch.settled' && quarantined === 1);
  expect(culprits).toHaveLength(1);
  expect(culprits[0]?.['messages']).toBeGreaterThan(1);
  expect(await willow.metric('willow_events_total')).toBe(events.length + 2 * users - 1 + 2);

  // What the user says next is judged anew.
  await database.pool.query('drop trigger poison on users');
  await voice.say('/logout', identity(37));
  expect(await announcedWhen(willow, poisoned, 4)).toHaveLength(4);
});
