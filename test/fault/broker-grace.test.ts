// I6: the birth that would save a session may wait at a broker that is away, so its deadline waits too.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { joinAll } from './broker-crowd.ts';
import { countLogged, drain, expectMetricsToAddUp, linkUpSinceMs, nthLogged, readSoundLog } from './broker-witness.ts';

const graceMs = 3_000;

let mosquitto: Mosquitto;
let database: TestDatabase;
let willow: Willow;

beforeAll(async () => {
  mosquitto = await startMosquitto();
  database = await createDatabase();
  willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, GRACE_MS: String(graceMs) });
  await willow.logged('link.up');
});

afterAll(async () => {
  await willow[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await mosquitto[Symbol.asyncDispose]();
});

test('no grace elapses while the link is down, nor for as long as a grace after it came up', async () => {
  const identities = ['away', 'back'].map((userId) => ({ userId, sessionId: 'phone', epoch: 1 }));
  for (const client of await joinAll(mosquitto.port, identities)) client.vanish();
  const isLost = ({ sessions }: { sessions: readonly { status: string }[] }) => sessions[0]?.status === 'lost';
  for (const { userId } of identities) await willow.presenceWhen(userId, isLost);
  await mosquitto.stop('SIGTERM');
  await willow.logged('link.down');
  await until('both graces to be over', async () => {
    const { rows } = await database.pool.query<{ due: number }>(
      'select count(*)::int as due from sessions where deadline_at < clock_timestamp()',
    );
    return rows[0]?.due === identities.length;
  });
  // The sweeper had its chance: the link has failed once more since, later than the next of its rounds.
  await nthLogged(willow, 'loop.failed', countLogged(willow, 'loop.failed') + 1);
  for (const { userId } of identities) expect(await willow.presence(userId)).toSatisfy(isLost);

  await mosquitto.restart();
  await joinAll(mosquitto.port, [{ userId: 'back', sessionId: 'phone', epoch: 2 }]);
  await willow.presenceWhen('back', ({ sessions }) => sessions[0]?.status === 'online');
  await willow.presenceWhen('away', ({ status }) => status === 'offline');
  await drain(mosquitto.url, willow);
  const log = await readSoundLog(database.pool);
  const ends = log.filter(({ type }) => type === 'session.ended');
  expect(ends).toMatchObject([{ userId: 'away', epoch: 1, reason: 'will' }]);
  expect(ends[0]?.atMs).toBeGreaterThan((await linkUpSinceMs(database.pool)) + graceMs);
  await expectMetricsToAddUp(willow);
});
