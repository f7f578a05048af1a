// Two processes of one client id: the first listens, the second stands by.

import { expect } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import type { ModelMessage } from '../support/model.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import { joinAll } from './broker-crowd.ts';
import { drain, expectLog, readSoundLog } from './broker-witness.ts';

export type Pair = AsyncDisposable & {
  readonly mosquitto: Mosquitto;
  readonly database: TestDatabase;
  readonly first: Willow;
  readonly second: Willow;
};

const graceMs = 1_000;
const vanished = ['gone-0', 'gone-1', 'gone-2'];

export async function startPair(environment: Readonly<Record<string, string>> = {}): Promise<Pair> {
  await using opened = new AsyncDisposableStack();
  const mosquitto = opened.use(await startMosquitto());
  const database = opened.use(await createDatabase());
  const start = (name: string) => {
    // By its name the database tells who writes.
    const url = new URL(database.url);
    url.searchParams.set('application_name', name);
    const common = { MQTT_URL: mosquitto.url, DATABASE_URL: url.href, GRACE_MS: String(graceMs) };
    return startWillow({ ...common, ...environment });
  };
  const first = opened.use(await start('first'));
  await first.logged('link.up');
  const second = opened.use(await start('second'));
  await second.logged('listener.standing-by');
  const parts = opened.move();
  return { mosquitto, database, first, second, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

export async function linkStateOf(willow: Willow): Promise<unknown> {
  const { status, body } = await willow.get<{ checks: { link: { state: string } } }>('/readyz');
  return { status, state: body.checks.link.state };
}

/** Clients vanish and stay away: their grace runs while one process goes and the other comes. */
export async function loseSome({ mosquitto, first }: Pair): Promise<void> {
  const identities = vanished.map((userId) => ({ userId, sessionId: 'phone', epoch: 1 }));
  const crowd = await joinAll(mosquitto.port, identities);
  for (const client of crowd) client.vanish();
  const isGone: Parameters<Willow['presenceWhen']>[1] = ({ sequence, sessions }) =>
    sequence >= 2 && sessions[0]?.status !== 'online';
  for (const userId of vanished) await first.presenceWhen(userId, isGone);
}

/** The second process goes on where the first one was: nothing lost, nothing doubled, one end for each who vanished. */
export async function expectWholeLog(
  { second, mosquitto, database }: Pair,
  storm: readonly ModelMessage[],
): Promise<void> {
  for (const userId of vanished) {
    await second.presenceWhen(userId, ({ status, sequence }) => status === 'offline' && sequence >= 4);
  }
  await drain(mosquitto.url, second);
  const log = await readSoundLog(database.pool);
  const isOfVanished = ({ userId }: { userId: string }) => vanished.includes(userId);
  expectLog(
    log.filter((event) => !isOfVanished(event)),
    storm,
  );
  const ends = log.filter((event) => isOfVanished(event) && event.type === 'session.ended');
  expect(ends.map(({ userId, reason }) => `${userId} ${reason}`).toSorted()).toEqual(
    vanished.map((userId) => `${userId} will`),
  );
  expect(await linkStateOf(second)).toEqual({ status: 200, state: 'listening' });
}
