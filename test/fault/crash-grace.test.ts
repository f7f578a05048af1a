import { expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { watchDeliveries } from '../support/deliveries.ts';
import { mqtt } from '../support/framing.ts';
import { absentees, deviations, readLog } from '../support/history.ts';
import { expireLease, trapBeforeCommit } from '../support/kill.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { chanceOf, publishAll, type Said, wireOf } from '../support/storm.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow } from '../support/willow.ts';

const graceMs = 3_000;
const users = 20;

function named(name: string, kind: Said['kind'], epoch: number): Said[] {
  return Array.from({ length: users }, (_, index) => ({
    kind,
    userId: `${name}-${index}`,
    sessionId: 'phone',
    epoch,
  }));
}

async function countSessions({ pool }: TestDatabase, condition: string): Promise<number> {
  const { rowCount } = await pool.query(`select from sessions where ${condition}`);
  return rowCount ?? 0;
}

test('I6: kill -9 during grace: a deadline that is over lapses once the link has been up for a grace, and the end is announced once; a birth that waited unread saves its session', async () => {
  const chance = chanceOf('crash, grace');
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  const start = () =>
    startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, GRACE_MS: String(graceMs), LOG_LEVEL: 'info' });
  const said: Said[] = [];
  const say = async (...messages: Said[]) => {
    said.push(...messages);
    await publishAll(
      mosquitto.url,
      messages.map((message) => wireOf(chance, message)),
    );
  };

  await using first = await start();
  await first.logged('link.up');
  await say(...named('gone', 'login', 1), ...named('back', 'login', 1));
  await say(...named('gone', 'will', 1), ...named('back', 'will', 1));
  await until('all of them lost', async () => (await countSessions(database, `status = 'lost'`)) === 2 * users);
  await first.child.end('SIGKILL');
  await say(...named('back', 'login', 2));
  const isOver = `status = 'lost' and deadline_at < clock_timestamp()`;
  await until('the end of their grace', async () => (await countSessions(database, isOver)) === 2 * users);

  // The lease of the dead runs out by itself here.
  await using second = await start();
  await second.logged('link.up');
  const upSince = await until('the time since when the link is up', async () => {
    const { rows } = await database.pool.query<{ at: string | null }>('select connected_since::text as at from links');
    return rows[0]?.at;
  });
  const early: number[] = [];
  await until('every end', async () => {
    const { rows } = await database.pool.query<{ ends: number; is_early: boolean }>(
      `select count(*)::int as ends, clock_timestamp() <= $1::timestamptz + $2 * interval '1 ms' as is_early
       from events where type = 'session.ended'`,
      [upSince, graceMs],
    );
    const { ends, is_early } = rows[0] ?? { ends: 0, is_early: false };
    if (is_early) early.push(ends);
    return ends === users;
  });
  expect(Math.max(...early)).toBe(0);
  expect(deviations(await readLog(database.pool), said, graceMs)).toEqual([]);
  const back = await second.presence('back-0');
  expect(back).toMatchObject({ status: 'online', sequence: 2, sessions: [{ epoch: 2, status: 'online' }] });

  await second.child.end('SIGKILL');
  await using third = await start();
  await say(...named('later', 'login', 1), ...named('later', 'will', 1));
  for (const { userId } of named('later', 'will', 1))
    await third.presenceWhen(userId, ({ sequence }) => sequence === 4);
  const log = await readLog(database.pool);
  expect(deviations(log, said, graceMs)).toEqual([]);
  expect(await absentees(third, log)).toEqual([]);
});

test('I1, I6: kill -9 while the end of a grace is being committed: it is announced once, whether that commit came through or not', async () => {
  const chance = chanceOf('crash, lapse');
  await using mosquitto = await startMosquitto();
  await using link = await startTcpProxy(mosquitto.port, mqtt);
  await using database = await createDatabase();
  const ground = { database, link, deliveries: watchDeliveries(link) };
  const environment = { MQTT_URL: `mqtt://127.0.0.1:${link.port}`, DATABASE_URL: database.url };
  const start = () => startWillow({ ...environment, GRACE_MS: String(graceMs) });
  const said: Said[] = [];
  let willow = await start();
  try {
    for (const leftover of ['rolled back', 'committed late', 'refused'] as const) {
      await willow.logged('link.up');
      const births = named(leftover, 'login', 1);
      const wills = named(leftover, 'will', 1);
      said.push(...births, ...wills);
      await publishAll(
        mosquitto.url,
        [...births, ...wills].map((message) => wireOf(chance, message)),
      );
      await until('all of them lost', async () => (await countSessions(database, `status = 'lost'`)) === users);
      const trap = await trapBeforeCommit(ground, leftover, 'deadlines');
      await trap.met();
      await willow.child.end('SIGKILL');
      await trap.prove();
      await expireLease(database);
      willow = await start();
      await until('every end', async () => (await countSessions(database, `status <> 'ended'`)) === 0);
    }
    const log = await readLog(database.pool);
    expect(deviations(log, said, graceMs)).toEqual([]);
    expect(await absentees(willow, log)).toEqual([]);
  } finally {
    await willow[Symbol.asyncDispose]();
  }
});
