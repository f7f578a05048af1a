import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice, type Voice } from '../support/voice.ts';
import type { Willow } from '../support/willow.ts';

const users = 200;

let mosquitto: Mosquitto;
let database: TestDatabase;
let members: [Willow, Willow];
let voice: Voice;

async function join(clientId: string): Promise<Willow> {
  return startListening(mosquitto, database, {
    GRACE_MS: '300',
    MQTT_CLIENT_ID: clientId,
    MQTT_SHARED_GROUP: 'willows',
  });
}

beforeAll(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
  members = await Promise.all([join('first'), join('second')]);
  voice = await openVoice(mosquitto.url);
});

afterAll(async () => {
  await voice[Symbol.asyncDispose]();
  for (const member of members) await member[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await mosquitto[Symbol.asyncDispose]();
});

async function sum(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const values = await Promise.all(members.map((member) => member.metric(name, labels)));
  return values.reduce((total, value) => total + value, 0);
}

/** How often each user's events of this type stand in the log. */
async function told(type: string, prefix: string): Promise<ReadonlyMap<string, number>> {
  const { rows } = await database.pool.query<{ user_id: string; count: number }>(
    'select user_id, count(*)::int from events where type = $1 and user_id like $2 group by user_id',
    [type, `${prefix}-%`],
  );
  return new Map(rows.map(({ user_id, count }) => [user_id, count]));
}

const everyone = (prefix: string) => Array.from({ length: users }, (_, index) => `${prefix}-${index}`);
const once = (prefix: string) => new Map(everyone(prefix).map((userId) => [userId, 1]));
const sorted = (counts: ReadonlyMap<string, number>) => [...counts].toSorted(([a], [b]) => a.localeCompare(b));

async function sayAll(topic: string, prefix: string, epoch: number): Promise<void> {
  await Promise.all(everyone(prefix).map((userId) => voice.say(topic, { userId, sessionId: 'phone', epoch })));
}

async function toldWhen(type: string, prefix: string, withinMs = 20_000): Promise<void> {
  await until(`${type} of all`, async () => (await told(type, prefix)).size === users, withinMs);
}

/** The database refuses a write to a link that does this, until that is allowed again. */
async function refuse(condition: string): Promise<void> {
  await database.pool.query(`
    create or replace function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '57P03'; end $$;
    create trigger refuse before update on links for each row when (${condition}) execute function refuse()`);
}

async function allow(): Promise<void> {
  await database.pool.query('drop trigger if exists refuse on links');
}

afterEach(allow);

const inheriting = 'new.holder is distinct from old.holder';
const strikingOff = 'new.shared_group is null';

const windingsUp = (willow: Willow): number => willow.log().filter(({ event }) => event === 'member.wound-up').length;

/** Everybody's end was announced once, and this process knows so. */
async function expectAllGone(willow: Willow, prefix: string): Promise<void> {
  await toldWhen('user.offline', prefix, 60_000);
  await willow.presenceWhen(`${prefix}-0`, ({ stale }) => !stale);
  for (const type of ['session.ended', 'user.offline']) {
    expect(sorted(await told(type, prefix))).toEqual(sorted(once(prefix)));
  }
  expect(await willow.presence(`${prefix}-0`)).toMatchObject({ status: 'offline', stale: false });
  // Heard long ago: they would be stale for good if it were thought that something was lost.
  expect(await willow.presence('calm-0')).toMatchObject({ status: 'offline', stale: false });
}

test('of two processes in a group each message is handled by exactly one, and every end is announced once', async () => {
  await sayAll('/login', 'calm', 1);
  await toldWhen('user.online', 'calm');
  await sayAll('/logout', 'calm', 1);
  await toldWhen('user.offline', 'calm');
  for (const type of ['session.started', 'user.online', 'session.ended', 'user.offline']) {
    expect(sorted(await told(type, 'calm'))).toEqual(sorted(once('calm')));
  }
  await until('all messages to be counted', async () => (await sum('willow_messages_total')) >= 2 * users);
  expect(await sum('willow_messages_total')).toBe(2 * users);
  expect(await sum('willow_signals_total', { outcome: 'applied' })).toBe(2 * users);
  for (const member of members) expect(await member.metric('willow_messages_total')).toBeGreaterThan(0);
});

test('both processes answer for all users, and agree', async () => {
  const [first, second] = members;
  const seen = await Promise.all([first, second].map((member) => member.presence('calm-0')));
  expect(seen[0]).toMatchObject({ status: 'offline', sequence: 4, stale: false });
  expect({ ...seen[1], asOf: null }).toEqual({ ...seen[0], asOf: null });
});

test('birth and will that meet in two processes end the session once, whichever is heard first', async () => {
  await Promise.all(
    everyone('race').flatMap((userId) => {
      const identity = { userId, sessionId: 'phone', epoch: 1 };
      return [voice.say('/login', identity), voice.say('/logout', identity)];
    }),
  );
  await toldWhen('user.offline', 'race');
  await until('all messages to be counted', async () => (await sum('willow_messages_total')) >= 4 * users);
  for (const type of ['session.ended', 'user.offline']) {
    expect(sorted(await told(type, 'race'))).toEqual(sorted(once('race')));
  }
  const { rows } = await database.pool.query<{ position: string }>('select position from events order by position');
  expect(rows.map(({ position }) => Number(position))).toEqual(rows.map((_, index) => index + 1));
});

test('of a process that is stopped the other inherits what the broker had queued for it; no grace lapses before', async () => {
  const [first, second] = members;
  await sayAll('/login', 'left', 1);
  await toldWhen('user.online', 'left');
  await refuse(inheriting);
  expect(await first.child.end('SIGTERM')).toBe(0);
  await sayAll('/logout', 'left', 1);
  await until('a grace that is long over, or has lapsed', async () => {
    const { rows } = await database.pool.query<{ is_over: boolean | null }>(
      "select max(deadline_at) < clock_timestamp() - interval '1 s' as is_over from sessions where status = 'lost'",
    );
    return rows[0]?.is_over === true || (await told('user.offline', 'left')).size > 0;
  });
  expect(await second.presence('left-0')).toMatchObject({ status: 'online', stale: true });
  expect((await told('user.offline', 'left')).size).toBe(0);
  await allow();
  const woundUp = await second.logged('member.wound-up');
  expect(woundUp).toMatchObject({ clientId: 'first' });
  expect(woundUp['messages']).toBeGreaterThan(0);
  await expectAllGone(second, 'left');
});

test('a member that comes back after it was wound up shares the work again, and nobody is stale', async () => {
  members[0] = await join('first');
  const [first, second] = members;
  // The heir leaves no session behind at the broker.
  expect(await first.logged('link.up')).toMatchObject({ hasSession: false });
  await sayAll('/login', 'back', 1);
  await toldWhen('user.online', 'back');
  await sayAll('/logout', 'back', 1);
  for (const member of members) await expectAllGone(member, 'back');
  expect(await first.metric('willow_messages_total')).toBeGreaterThan(0);
  expect(await first.metric('willow_messages_total')).toBeLessThan(2 * users);
  expect(windingsUp(second)).toBe(1);
});

test('of a process that is killed the other inherits everything, though it fails on the way', async () => {
  const [first, second] = members;
  await sayAll('/login', 'killed', 1);
  await toldWhen('user.online', 'killed');
  await refuse(strikingOff);
  const saying = sayAll('/logout', 'killed', 1);
  await second.child.end('SIGKILL');
  await saying;
  await first.child.line(
    (line) => line.includes('"loop":"heir"') && line.includes('"57P03"'),
    'that it may not wind up',
  );
  await allow();
  expect(await first.logged('member.wound-up')).toMatchObject({ clientId: 'second' });
  await expectAllGone(first, 'killed');
});

test('when all were away, the one that comes back hears what was queued for any of them', async () => {
  members[1] = await join('second');
  const [first, second] = members;
  await sayAll('/login', 'night', 1);
  await toldWhen('user.online', 'night');
  await refuse(inheriting);
  await Promise.all([first.child.end('SIGKILL'), second.child.end('SIGTERM')]);
  await allow();
  await sayAll('/logout', 'night', 1);
  members[0] = await join('first');
  const woundUp = await members[0].logged('member.wound-up');
  expect(woundUp).toMatchObject({ clientId: 'second' });
  expect(woundUp['messages']).toBeGreaterThan(0);
  // Without a subscription of its own, it would have left the group with none.
  const events = members[0].log().map(({ event }) => event);
  expect(events.indexOf('link.up')).toBeLessThan(events.indexOf('member.wound-up'));
  await expectAllGone(members[0], 'night');
});

test('what comes while a process is wound up is heard by the others', async () => {
  members[1] = await join('second');
  const [first, second] = members;
  const before = windingsUp(first);
  let said = 0;
  const speak = async () => {
    while (windingsUp(first) === before) {
      said += 1;
      await voice.say('/logout', { userId: `flow-${said}`, sessionId: 'phone', epoch: 1 });
    }
  };
  const speaking = Promise.all(Array.from({ length: 20 }, speak));
  expect(await second.child.end('SIGTERM')).toBe(0);
  await speaking;
  await until('all to be heard', async () => (await told('user.offline', 'flow')).size === said, 20_000);
  expect(await first.presence('flow-1')).toMatchObject({ stale: false });
});

test('when the broker has not kept the session of a member that is gone, all are stale who were not heard since', async () => {
  members[1] = await join('second');
  const [first, second] = members;
  const before = windingsUp(first);
  await refuse(inheriting);
  await second.child.end('SIGTERM');
  await using forgetting = await openVoice(mosquitto.url, { clientId: 'second', clean: true });
  expect(forgetting.client.connected).toBe(true);
  await forgetting[Symbol.asyncDispose]();
  await allow();
  await until('the member to be wound up', () => windingsUp(first) > before);
  expect(await first.presence('calm-0')).toMatchObject({ status: 'offline', stale: true });
  await sayAll('/login', 'since', 1);
  await toldWhen('user.online', 'since');
  expect(await first.presence('since-0')).toMatchObject({ status: 'online', stale: false });
});
