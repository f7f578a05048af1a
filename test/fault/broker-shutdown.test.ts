// Mosquitto publishes the will of every connected client when it is shut down, and delivers most of them after its restart.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { type BareClient, type Identity, joinAll } from './broker-crowd.ts';
import { drain, expectMetricsToAddUp, nthLogged, readSoundLog } from './broker-witness.ts';

const clients = 2_000;
/** A thousand clients come back within it, on a slow machine too. */
const graceMs = 12_000;
const shutdowns = 2;

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

const userIds = Array.from({ length: clients }, (_, index) => `user-${index}`);
const returning = userIds.slice(0, clients / 2);
const away = userIds.slice(clients / 2);

function connectAll(users: readonly string[], epoch: number): Promise<readonly BareClient[]> {
  const identities = users.map((userId): Identity => ({ userId, sessionId: 'phone', epoch }));
  return joinAll(mosquitto.port, identities);
}

async function settledWills(): Promise<Record<'applied' | 'stale' | 'repeat', number>> {
  const count = (outcome: string) => willow.metric('willow_signals_total', { kind: 'will', outcome });
  return { applied: await count('applied'), stale: await count('stale'), repeat: await count('repeat') };
}

/** The broker ends, with a will of each of these, and is there again; those who return do so at once. */
async function shutDown(crowd: readonly BareClient[], times: number): Promise<readonly BareClient[]> {
  await mosquitto.stop('SIGTERM');
  await Promise.all(crowd.map(({ closed }) => closed));
  await nthLogged(willow, 'link.down', times);
  await mosquitto.restart();
  const [returned] = await Promise.all([connectAll(returning, 1 + times), nthLogged(willow, 'link.up', 1 + times)]);
  return returned;
}

test('when the broker shuts down, who returns within the grace is never announced offline, and everybody else is, once', async ({
  annotate,
}) => {
  let crowd = await connectAll(userIds, 1);
  await drain(mosquitto.url, willow);
  expect(await willow.metric('willow_events_total', { type: 'user.online' })).toBeGreaterThanOrEqual(clients);

  const startedAtMs = performance.now();
  for (let times = 1; times <= shutdowns; times += 1) crowd = await shutDown(crowd, times);
  await drain(mosquitto.url, willow);
  await annotate(`${shutdowns} shutdowns and returns took ${Math.round(performance.now() - startedAtMs)} ms`);
  const { applied, stale, repeat } = await settledWills();
  await annotate(`wills: ${applied} applied, ${stale} stale, ${repeat} repeat`);
  expect(applied + stale, 'wills heard').toBeGreaterThanOrEqual(clients + (shutdowns - 1) * returning.length);

  const ended = () => willow.metric('willow_events_total', { type: 'session.ended' });
  await until('the end of those who stayed away', async () => (await ended()) >= away.length);
  await drain(mosquitto.url, willow);
  const { rows } = await database.pool.query('select from sessions where deadline_at is not null');
  expect(rows, 'deadlines that still run').toHaveLength(0);
  expectAnnounced(await readSoundLog(database.pool));
  for (const userId of returning.slice(0, 20)) {
    const sessions = [{ status: 'online', epoch: 1 + shutdowns }];
    expect(await willow.presence(userId)).toMatchObject({ status: 'online', stale: false, sessions });
  }
  for (const userId of away.slice(0, 20)) {
    expect(await willow.presence(userId)).toMatchObject({ status: 'offline', stale: false, sessions: [] });
  }
  await expectMetricsToAddUp(willow);
});

function expectAnnounced(log: Awaited<ReturnType<typeof readSoundLog>>): void {
  const announced = Map.groupBy(log, ({ userId }) => userId);
  const starts = ['session.started 1', 'user.online 1'];
  const ends = ['session.ended 1', 'user.offline 1'];
  const wrong = userIds.filter((userId) => {
    const events = (announced.get(userId) ?? []).map(({ type, epoch }) => `${type} ${epoch}`);
    const expected = returning.includes(userId) ? starts : [...starts, ...ends];
    return events.join() !== expected.join();
  });
  expect(wrong, 'users of whom something else was announced').toEqual([]);
  expect(announced.size).toBe(clients);
}
