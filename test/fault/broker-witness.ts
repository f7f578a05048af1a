// What the log must say, whatever was broken: everything that the broker took, once, in order, and nothing else.

import { randomUUID } from 'node:crypto';
import { connectAsync } from 'mqtt';
import type pg from 'pg';
import { expect } from 'vitest';
import { expectedEvents, type ModelMessage } from '../support/model.ts';
import { until } from '../support/until.ts';
import type { Willow } from '../support/willow.ts';

export type LoggedEvent = {
  readonly position: number;
  readonly userId: string;
  readonly sequence: number;
  readonly type: string;
  readonly sessionId: string;
  readonly epoch: number | null;
  readonly reason: string | null;
  readonly atMs: number;
};

export type Publication = { readonly topic: string; readonly payload: string };

const publishedAtOnceMax = 500;
const markerPrefix = 'marker-';

/** Publishes in order, at QoS 1; resolves when the broker has taken all of it. */
export async function publishAll(url: string, publications: readonly Publication[]): Promise<void> {
  const client = await connectAsync(url, { reconnectPeriod: 0, protocolVersion: 4 });
  for (let first = 0; first < publications.length; first += publishedAtOnceMax) {
    const some = publications.slice(first, first + publishedAtOnceMax);
    await Promise.all(some.map(({ topic, payload }) => client.publishAsync(topic, payload, { qos: 1 })));
  }
  await client.endAsync();
}

/** Logins and goodbyes: every one makes two events, and none of them needs time to pass. */
export function comingsAndGoings(userIds: readonly string[], epochs: number): readonly ModelMessage[] {
  const messages: ModelMessage[] = [];
  for (let epoch = 1; epoch <= epochs; epoch += 1) {
    for (const kind of ['login', 'logout'] as const) {
      for (const userId of userIds) messages.push({ kind, userId, sessionId: 'phone', epoch, atMs: 0 });
    }
  }
  return messages;
}

export function publicationOf({ kind, userId, sessionId, epoch }: ModelMessage): Publication {
  const reason = kind === 'logout' ? { reason: 'logout' } : {};
  const topic = kind === 'login' ? '/login' : '/logout';
  return { topic, payload: JSON.stringify({ userId, sessionId, epoch, ...reason }) };
}

/** Waits until everything that the broker took before now is settled and counted: its queue is first in, first out. */
export async function drain(url: string, willow: Willow): Promise<void> {
  // A batch is counted when it was committed, and before the next one is taken.
  for (let times = 0; times < 2; times += 1) {
    const userId = `${markerPrefix}${randomUUID()}`;
    await publishAll(url, [{ topic: '/login', payload: JSON.stringify({ userId }) }]);
    await willow.presenceWhen(userId, ({ status }) => status === 'online');
  }
}

/** The whole log in the order of its positions, without the markers of `drain`; fails when it is not sound. */
export async function readSoundLog(pool: pg.Pool): Promise<readonly LoggedEvent[]> {
  const { rows } = await pool.query<LoggedEvent>(
    `select position::int, user_id as "userId", sequence::int, type, session_id as "sessionId", epoch::float8 as epoch, reason,
       (extract(epoch from at) * 1000)::float8 as "atMs" from events order by position`,
  );
  expect(rows.map(({ position }) => position)).toEqual(rows.map((_, index) => index + 1));
  for (const [userId, events] of Map.groupBy(rows, (row) => row.userId)) {
    const sequences = events.map(({ sequence }) => sequence);
    expect(sequences, `the sequence of ${userId}`).toEqual(sequences.map((_, index) => index + 1)); // I8
    const times = events.map(({ atMs }) => atMs);
    expect(times, `the times of ${userId}`).toEqual(times.toSorted((a, b) => a - b));
  }
  const ends = rows.filter(({ type, epoch }) => type === 'session.ended' && epoch !== null);
  const connections = ends.map(({ userId, sessionId, epoch }) => `${userId} ${sessionId} ${epoch}`);
  expect(new Set(connections).size, 'every connection ends at most once').toBe(connections.length); // I1
  return rows.filter(({ userId }) => !userId.startsWith(markerPrefix));
}

/** The events of every user, as the model of the contract has them: none lost, none doubled, each in its place. */
export function expectLog(log: readonly LoggedEvent[], messages: readonly ModelMessage[]): void {
  const logged = Map.groupBy(log, ({ userId }) => userId);
  const expected = expectedEvents(messages, 0, 0);
  expect(new Set(logged.keys())).toEqual(new Set(expected.keys()));
  for (const [userId, events] of expected) {
    const seen = (logged.get(userId) ?? []).map(({ position: _position, atMs: _atMs, ...event }) => event);
    expect(seen, `the events of ${userId}`).toEqual(events);
  }
}

/** I10: every message that was settled ended in exactly one outcome. */
export async function expectMetricsToAddUp(willow: Willow): Promise<void> {
  await until('the metrics to add up', async () => {
    const messages = await willow.metric('willow_messages_total');
    const signals = await willow.metric('willow_signals_total');
    const quarantined = await willow.metric('willow_quarantined_total');
    const batches = willow.log().filter(({ event }) => event === 'batch.settled');
    const logged = batches.reduce((sum, line) => sum + Number(line['messages']), 0);
    return messages > 0 && signals + quarantined === messages && logged === messages;
  });
}

/** How many lines with this event there are by now. */
export function countLogged(willow: Willow, wanted: string): number {
  return willow.log().filter(({ event }) => event === wanted).length;
}

/** The n-th line with this event, earlier or later. */
export async function nthLogged(willow: Willow, event: string, n: number) {
  let seen = 0;
  const isWanted = (line: string) => line.includes(`"event":"${event}"`) && ++seen === n;
  const find = (line: string) => isWanted(line) && (JSON.parse(line) as Readonly<Record<string, unknown>>);
  return willow.child.line(find, `${event}, ${n} times`);
}

/** The first `n` failed attempts to connect to the broker, once there are so many. */
export async function linkFailures(willow: Willow, n: number) {
  return until(`${n} failed attempts to connect`, () => {
    const failures = willow.log().filter(({ event, loop }) => event === 'loop.failed' && loop === 'link');
    return failures.length >= n && failures.slice(0, n);
  });
}

/** Since when the process that listens is connected to the broker. */
export async function linkUpSinceMs(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ upSinceMs: number | null }>(
    'select (extract(epoch from connected_since) * 1000)::float8 as "upSinceMs" from links',
  );
  const upSinceMs = rows[0]?.upSinceMs ?? null;
  expect(upSinceMs, 'the link is up').not.toBeNull();
  return Number(upSinceMs);
}
