// The Mosquitto of docs/recipes, with a user who is at home on it and one who is hostile: whatever that one says, leaves as a will,
// listens to or takes over, nothing of it changes anybody else's presence.

import { randomUUID } from 'node:crypto';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { prepare, withEpoch } from '../support/prepared.ts';
import { passwordOf, type Recipe, startRecipe } from '../support/recipe.ts';
import { announced, countedWhen, startListening } from '../support/stage.ts';
import { withWill } from '../support/voice.ts';
import type { Willow } from '../support/willow.ts';

/** Names that look otherwise in a URL. */
const prepared = ['alice@example.com', 'zoë = & co'];
/** The last one has a name that a careless broker would put into its rules as it is. */
const users = ['willow', 'bob', ...prepared, 'mallory', '+'];
const hostile = ['mallory', '+'];
const bobIs = { userId: 'bob', sessionId: 'phone', epoch: 1_000 };
const bobIsGone = { ...bobIs, epoch: 2_000, reason: 'logout' };

/** Where somebody who is after bob might publish. */
const topicsOfBob = [
  '/logout',
  '/logout/bob',
  '/logout/bob/phone',
  '/logout/%62ob',
  '/logout//bob',
  '/logout/mallory%2F..%2Fbob',
  '/login',
  '/login/bob',
  '/login/bob/phone',
  'logout/bob',
  '$share/g//logout/bob',
];
/** And where somebody may publish who has this name, to speak of bob there. */
const topicsOf = (user: string) => [`/logout/${user}`, `/logout/${user}/phone`, `/login/${user}`];
const ears = [
  '/login/#',
  '/logout/#',
  '#',
  '+/#',
  '/+/#',
  '/+/+',
  '/login/bob',
  '$share/g//logout/#',
  '$share/g/#',
  '$SYS/#',
];

type World = { readonly recipe: Recipe; readonly willow: Willow; readonly bob: MqttClient };

async function connectAs(recipe: Recipe, user: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await connectAsync(recipe.url, { ...(await recipe.as(user)), protocolVersion: 5, ...options });
  client.on('error', () => undefined);
  return client;
}

describe.each([
  ['as it stands there, with a client id that nobody can guess', [], `willow-${randomUUID()}`, `bob-${randomUUID()}`],
  ['with client ids that are user names', ['use_username_as_clientid true'], 'willow', 'bob'],
])('%s', (_variant, lines, willowId, bobId) => {
  const resources = new AsyncDisposableStack();
  let world: World;

  beforeAll(async () => {
    const recipe = resources.use(await startRecipe(users, lines));
    const database = resources.use(await createDatabase());
    const willow = resources.use(
      await startListening(recipe, database, {
        MQTT_CLIENT_ID: willowId,
        MQTT_USERNAME: 'willow',
        MQTT_PASSWORD: passwordOf('willow'),
        MQTT_CA_FILE: recipe.caFile,
        GRACE_MS: '0',
      }),
    );
    const bob = await connectAs(recipe, 'bob', { clientId: bobId, ...withWill('/logout/bob', bobIs) });
    resources.defer(() => bob.endAsync(true));
    await bob.publishAsync('/login/bob', JSON.stringify(bobIs), { qos: 1 });
    await willow.presenceWhen('bob', ({ status }) => status === 'online');
    world = { recipe, willow, bob };
  });

  afterAll(() => resources.disposeAsync());

  /** Everything that the broker let through up to now has been settled, and bob is where he was, heard of once. */
  async function expectBobUnmoved(): Promise<void> {
    const { recipe, willow } = world;
    const userId = 'mallory';
    const sessionId = randomUUID();
    const mallory = await connectAs(recipe, userId);
    await mallory.publishAsync(`/login/${userId}/${sessionId}`, '', { qos: 1 });
    await willow.presenceWhen(userId, ({ sessions }) => sessions.some((session) => session.sessionId === sessionId));
    await mallory.endAsync();
    expect(await willow.presence('bob')).toMatchObject({ status: 'online', sequence: 2, sessions: [{ epoch: 1_000 }] });
    expect(await announced(willow, 'bob')).toEqual(['session.started phone 1000', 'user.online phone 1000']);
    expect(world.bob.connected).toBe(true);
    expect(willow.log().filter(({ event }) => event === 'link.down')).toEqual([]);
  }

  test.each(hostile)('what %s publishes on the topics of another is heard by nobody', async (user) => {
    const { recipe, willow } = world;
    const before = await willow.metric('willow_messages_total');
    for (const topic of topicsOfBob) {
      const client = await connectAs(recipe, user);
      // The broker says no, or hangs up; a retained one would be there for whoever subscribes.
      await client.publishAsync(topic, JSON.stringify(bobIsGone), { qos: 1, retain: true }).catch(() => undefined);
      await client.endAsync(true);
    }
    await expectBobUnmoved();
    // The one message by which all others are known to be settled.
    expect(await countedWhen(willow, 'willow_messages_total', {}, before + 1)).toBe(before + 1);
  });

  test.each(hostile)('a will of %s on the topics of another is never published', async (user) => {
    const { recipe, willow } = world;
    const before = await willow.metric('willow_messages_total');
    for (const topic of topicsOfBob.filter((one) => !one.startsWith('$'))) {
      const client = await connectAs(recipe, user, withWill(topic, bobIsGone)).catch(() => null);
      client?.stream.destroy();
    }
    await expectBobUnmoved();
    expect(await countedWhen(willow, 'willow_messages_total', {}, before + 1)).toBe(before + 1);
  });

  test('on one’s own topic nobody speaks for another: that goes into quarantine', async () => {
    const { recipe, willow } = world;
    const before = await willow.metric('willow_quarantined_total', { reason: 'identity-mismatch' });
    const payloads = [bobIsGone, { userId: 'bob' }].map((one) => JSON.stringify(one));
    const client = await connectAs(recipe, 'mallory');
    for (const topic of topicsOf('mallory')) {
      for (const payload of [...payloads, '"bob"', '{bob}', 'bob'])
        await client.publishAsync(topic, payload, { qos: 1 });
    }
    await client.endAsync();
    const dying = await connectAs(recipe, 'mallory', withWill('/logout/mallory', bobIsGone));
    dying.stream.destroy();
    await expectBobUnmoved();
    const mismatches = topicsOf('mallory').length * (payloads.length + 3) + 1;
    await countedWhen(willow, 'willow_quarantined_total', { reason: 'identity-mismatch' }, before + mismatches);
  });

  test.each(hostile)('%s hears nothing of anybody, whatever is subscribed to', async (user) => {
    const { recipe, bob, willow } = world;
    const heard: string[] = [];
    for (const filter of ears) {
      const client = await connectAs(recipe, user);
      client.on('message', (topic) => heard.push(topic));
      await client.subscribeAsync(filter, { qos: 1 }).catch(() => undefined);
      // A sign of life: it is heard by those who may, and changes nothing.
      const { lastSeenAt } = await willow.presence('bob');
      await bob.publishAsync('/login/bob', JSON.stringify(bobIs), { qos: 1 });
      await willow.presenceWhen('bob', (now) => now.lastSeenAt !== lastSeenAt);
      await client.endAsync().catch(() => undefined);
    }
    expect(heard).toEqual([]);
    await expectBobUnmoved();
  });

  test('nobody takes the place of Willow, or of another user, at the broker', async () => {
    const { recipe } = world;
    const guesses = lines.length === 0 ? ['willow', 'bob', 'willow-', ''] : ['willow', 'bob', willowId, bobId];
    for (const clientId of guesses) {
      for (const clean of [true, false]) {
        const client = await connectAs(recipe, 'mallory', { clientId, clean }).catch(() => null);
        await client?.endAsync();
      }
    }
    await expectBobUnmoved();
  });

  test('nobody comes in without the password, or without any name', async () => {
    const { recipe } = world;
    const { ca } = await recipe.as('willow');
    for (const credentials of [{}, { username: 'willow' }, { username: 'willow', password: passwordOf('mallory') }]) {
      const connecting = connectAsync(recipe.url, {
        ...(ca === undefined ? {} : { ca }),
        ...credentials,
        reconnectPeriod: 0,
      });
      await expect(connecting).rejects.toThrow(/not authorized|bad user name|connection refused/iu);
    }
  });

  test.each(prepared)('%s, whose login a backend prepared, is heard from birth to will', async (user) => {
    const { recipe, willow } = world;
    const { will, birth } = await prepare(willow, user, { sessionId: 'phone' });
    const client = await connectAs(recipe, user, withWill(will.topic, withEpoch(will, 1)));
    await client.publishAsync(birth.topic, withEpoch(birth, 1), { qos: 1 });
    await willow.presenceWhen(user, ({ status }) => status === 'online');
    client.stream.destroy();
    await willow.presenceWhen(user, ({ status, sequence }) => status === 'offline' && sequence === 4);
  });

  test('bob is heard when he goes', async () => {
    const { willow, bob } = world;
    bob.stream.destroy();
    await willow.presenceWhen('bob', ({ status, sequence }) => status === 'offline' && sequence === 4);
  });
});
