// SECRET_KEY is changed: what was signed before is heard as long as it has to be, and no longer.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listedKey } from '../../src/tickets/keys.ts';
import { createDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { type Prepared, prepare, withEpoch } from '../support/prepared.ts';
import { announced, announcedWhen, countedWhen, startListening } from '../support/stage.ts';
import { openVoice, type Voice } from '../support/voice.ts';
import type { Willow } from '../support/willow.ts';

let mosquitto: Mosquitto;
let voice: Voice;

beforeAll(async () => {
  mosquitto = await startMosquitto();
  voice = await openVoice(mosquitto.url);
});

afterAll(async () => {
  await voice[Symbol.asyncDispose]();
  await mosquitto[Symbol.asyncDispose]();
});

const newKey = () => randomBytes(32).toString('base64url');
const keyIdOf = (secretKey: string) => listedKey(Buffer.from(secretKey, 'base64url')).keyId;
const signedBy = ({ birth }: Prepared) =>
  (JSON.parse(Buffer.from(birth.payload.ticket.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;

/** One database, and one Willow after the other with other keys. */
async function openHouse() {
  const database = await createDatabase();
  let willow: Willow | null = null;
  return {
    pool: database.pool,
    live: async (...keys: readonly string[]): Promise<Willow> => {
      await willow?.child.end('SIGTERM');
      const settings = { GRACE_MS: '0', REQUIRE_TICKETS: 'true', MQTT_CLIENT_ID: `house-${keyIdOf(keys[0] ?? '')}` };
      willow = await startListening(mosquitto, database, { ...settings, SECRET_KEY: keys.join() });
      return willow;
    },
    keptKeys: async (): Promise<readonly string[]> => {
      const { rows } = await database.pool.query<{ key_id: string }>(
        'select key_id from ticket_keys order by created_at',
      );
      return rows.map(({ key_id }) => key_id);
    },
    [Symbol.asyncDispose]: async () => {
      await willow?.[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function beBorn(willow: Willow, userId: string, prepared: Prepared, epoch: number): Promise<void> {
  await voice.say(prepared.birth.topic, withEpoch(prepared.birth, epoch));
  await willow.presenceWhen(userId, ({ sessions }) => sessions[0]?.epoch === epoch);
}

test('a key that is listed behind the newest is as good as ever, for births and wills; the newest signs', async () => {
  await using house = await openHouse();
  const [a, b] = [newKey(), newKey()];
  const first = await house.live(a);
  const old = await prepare(first, 'ann', { sessionId: 'phone' });
  expect(signedBy(old)).toBe(keyIdOf(a));
  const second = await house.live(b, a);
  expect(signedBy(await prepare(second, 'ann'))).toBe(keyIdOf(b));
  await beBorn(second, 'ann', old, 1);
  await voice.say(old.will.topic, withEpoch(old.will, 1));
  expect(await announcedWhen(second, 'ann', 4)).toHaveLength(4);
});

describe('a key that is taken out', () => {
  test('speaks for live sessions that were born with it, until they have ended; then it is forgotten', async () => {
    await using house = await openHouse();
    const [a, b, c] = [newKey(), newKey(), newKey()];
    const first = await house.live(a);
    const names = ['will', 'goodbye', 'reborn', 'renewed', 'ended', 'never'] as const;
    const old = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await prepare(first, name, { sessionId: 'phone' })] as const)),
    ) as Record<(typeof names)[number], Prepared>;
    for (const name of ['will', 'goodbye', 'reborn', 'renewed', 'ended'] as const)
      await beBorn(first, name, old[name], 1);
    await voice.say(old.ended.will.topic, withEpoch(old.ended.will, 1, { reason: 'logout' }));
    await announcedWhen(first, 'ended', 4);

    const both = await house.live(b, a);
    await beBorn(both, 'renewed', await prepare(both, 'renewed', { sessionId: 'phone' }), 2);

    const retired = await house.live(b);
    expect(retired.log().find(({ event }) => event === 'tickets.retired-keys')).toMatchObject({
      kept: 1,
      forgotten: 0,
    });
    // A birth: no longer.
    await voice.say(old.reborn.birth.topic, withEpoch(old.reborn.birth, 2));
    await countedWhen(retired, 'willow_quarantined_total', { reason: 'bad-ticket' }, 1);
    // Sessions that were born with another key since, that are over, or that never were: not for them.
    for (const name of ['renewed', 'ended', 'never'] as const) {
      await voice.say(old[name].will.topic, withEpoch(old[name].will, 9));
    }
    expect(await countedWhen(retired, 'willow_signals_total', { kind: 'will', outcome: 'stale' }, 3)).toBe(3);
    expect((await retired.presence('renewed')).sessions).toMatchObject([{ status: 'online', epoch: 2 }]);
    expect(await announced(retired, 'never')).toEqual([]);
    // The wills and goodbyes that it is kept for.
    await voice.say(old.will.will.topic, withEpoch(old.will.will, 1));
    await voice.say(old.goodbye.will.topic, withEpoch(old.goodbye.will, 1, { reason: 'logout' }));
    expect((await announcedWhen(retired, 'will', 4)).at(-1)).toBe('user.offline phone 1 will');
    expect((await announcedWhen(retired, 'goodbye', 4)).at(-1)).toBe('user.offline phone 1 logout');

    // Another change on top of it: what the newest key sealed anew is still there.
    await house.live(c, b);
    const last = await house.live(c);
    await voice.say(old.reborn.will.topic, withEpoch(old.reborn.will, 1));
    expect((await announcedWhen(last, 'reborn', 4)).at(-1)).toBe('user.offline phone 1 will');
    expect(await house.keptKeys()).toEqual([a, b, c].map(keyIdOf));

    const after = await house.live(c);
    expect(after.log().find(({ event }) => event === 'tickets.retired-keys')).toMatchObject({ forgotten: 1 });
    expect(await house.keptKeys()).toEqual([b, c].map(keyIdOf));
    await voice.say(old.will.will.topic, withEpoch(old.will.will, 9));
    await countedWhen(after, 'willow_quarantined_total', { reason: 'bad-ticket' }, 1);
    // The session that its client was to renew lives on, by the key that it was renewed with.
    expect((await after.presence('renewed')).status).toBe('online');
  });

  test('without a start that lists both, cannot be opened, and says so; nothing else suffers', async () => {
    await using house = await openHouse();
    const [a, b] = [newKey(), newKey()];
    const first = await house.live(a);
    const old = await prepare(first, 'ann', { sessionId: 'phone', live: true });
    const second = await house.live(b);
    expect(second.log().find(({ event }) => event === 'tickets.unreadable-keys')).toMatchObject({ keys: [keyIdOf(a)] });
    await voice.say(old.will.topic, withEpoch(old.will, 1));
    await countedWhen(second, 'willow_quarantined_total', { reason: 'bad-ticket' }, 1);
    // Put back, it is what it was.
    const third = await house.live(b, a);
    await voice.say(old.will.topic, withEpoch(old.will, 1));
    expect((await announcedWhen(third, 'ann', 4)).at(-1)).toBe('user.offline phone 1 will');
  });

  test('is not lost by a process with older settings that starts in between', async () => {
    await using house = await openHouse();
    const [a, b] = [newKey(), newKey()];
    const first = await house.live(a);
    const old = await prepare(first, 'ann', { sessionId: 'phone', live: true });
    await house.live(b, a);
    await house.live(a);
    const last = await house.live(b);
    await voice.say(old.will.topic, withEpoch(old.will, 1));
    expect((await announcedWhen(last, 'ann', 4)).at(-1)).toBe('user.offline phone 1 will');
  });
});

test('no key is kept in the clear', async () => {
  await using house = await openHouse();
  const a = newKey();
  await house.live(a);
  const { derived } = listedKey(Buffer.from(a, 'base64url'));
  const { rows } = await house.pool.query<{ sealed: Buffer }>('select sealed from ticket_keys');
  expect(rows).toHaveLength(1);
  expect(rows[0]?.sealed.includes(derived)).toBe(false);
  expect(rows[0]?.sealed.includes(Buffer.from(a, 'base64url'))).toBe(false);
});
