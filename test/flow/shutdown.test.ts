import { expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice, type Voice } from '../support/voice.ts';

const users = 4_000;
const stops = 3;
const stopMsMax = 5_000;
const inFlightMax = 200;

/** With an epoch and without one, in turn: the one is known by the epoch when it comes again, the other by its receipt. */
function pairOf(index: number) {
  const userId = `user-${index}`;
  return index % 2 === 0 ? { userId, sessionId: 'phone', epoch: 1 } : { userId, sessionId: 'phone' };
}

/** Birth and will of every user, as fast as the broker takes them. */
async function sayAll(voice: Voice): Promise<void> {
  let next = 0;
  const speaker = async () => {
    for (let index = next; index < users; index = next) {
      next += 1;
      const identity = pairOf(index);
      await Promise.all([voice.say('/login', identity), voice.say('/logout', identity)]);
    }
  };
  await Promise.all(Array.from({ length: inFlightMax / 2 }, speaker));
}

async function endedIn(database: TestDatabase): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    `select count(*)::int as count from events where type = 'user.offline'`,
  );
  return rows[0]?.count ?? 0;
}

test('SIGTERM under load ends with code 0 in time; what was acknowledged is there, what was not comes again', async () => {
  await using mosquitto = await startMosquitto({ inflightMax: 1_000 });
  await using database = await createDatabase();
  await using voice = await openVoice(mosquitto.url);
  const environment = { GRACE_MS: '0', REPEAT_WINDOW_MS: '0' };
  let saying: Promise<void> | null = null;
  const leftAfterStop: number[] = [];
  for (let stop = 1; stop <= stops; stop += 1) {
    await using willow = await startListening(mosquitto, database, environment);
    saying ??= sayAll(voice);
    // In the middle of the work: each stop finds some of it done, and most of the rest under way.
    const enough = (users * stop) / (4 * stops);
    await until(`${enough} users settled`, async () => (await endedIn(database)) >= enough);
    const stoppedAtMs = performance.now();
    expect(await willow.child.end('SIGTERM')).toBe(0);
    expect(performance.now() - stoppedAtMs).toBeLessThan(stopMsMax);
    expect(willow.log().at(-1)).toMatchObject({ event: 'willow.stopped', signal: 'SIGTERM' });
    leftAfterStop.push(users - (await endedIn(database)));
  }
  await saying;
  // The fault was met: there was work left at each stop.
  expect(leftAfterStop.every((left) => left > 0)).toBe(true);

  await using _willow = await startListening(mosquitto, database, environment);
  await until('all users settled', async () => (await endedIn(database)) >= users, 40_000);
  const { rows } = await database.pool.query<{ user_id: string; story: string }>(
    `select user_id, string_agg(type, ' ' order by sequence) as story from events group by user_id`,
  );
  expect(rows).toHaveLength(users);
  const lived = 'session.started user.online session.ended user.offline';
  expect(rows.filter(({ story }) => story !== lived)).toEqual([]);
  const positions = await database.pool.query<{ first: number; last: number; count: number }>(
    'select min(position)::int as first, max(position)::int as last, count(*)::int from events',
  );
  expect(positions.rows).toEqual([{ first: 1, last: 4 * users, count: 4 * users }]);
});

test('SIGTERM while nothing happens ends with code 0, and a second Willow takes over at once', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using first = await startListening(mosquitto, database, {});
  const environment = { MQTT_URL: mosquitto.url, DATABASE_URL: database.url };
  await using voice = await openVoice(mosquitto.url);
  const second = startListening(mosquitto, database, environment);
  await until('the second to stand by', async () => {
    const { rows } = await database.pool.query(
      `select from pg_stat_activity where datname = current_database() and application_name = 'willow' and query like '%on conflict (client_id)%'`,
    );
    return rows.length > 0;
  });
  expect(await first.child.end('SIGTERM')).toBe(0);
  await using willow = await second;
  await voice.say('/login', 'ann');
  await willow.presenceWhen('ann', ({ status, stale }) => status === 'online' && !stale);
});
