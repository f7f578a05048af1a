import { expect, test } from 'vitest';
import { inventBareHistory } from '../support/bare-storm.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { type PostgresPacket, postgres } from '../support/framing.ts';
import { absentees, deviationsFrom, readLog } from '../support/history.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { chanceOf, publishAll, split, stormRounds, untilSettled } from '../support/storm.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

const windows = { GRACE_MS: '0', REPEAT_WINDOW_MS: '0', TAKEOVER_WINDOW_MS: '0' };

test('the database stalls for longer than the lease: a write that arrives afterwards is refused, one that was committed is not repeated, and all is caught up', async () => {
  const chance = chanceOf('database stall');
  const rounds = stormRounds(3);
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using way = await startTcpProxy(Number(new URL(database.url).port), postgres);
  await using willow = await startWillow({
    MQTT_URL: mosquitto.url,
    DATABASE_URL: databaseThrough(way.port, database.url),
    ...windows,
  });
  const { messages, expected } = inventBareHistory(chance, 20 * rounds);
  await willow.logged('link.up');
  for (const [round, part] of split(messages, rounds).entries()) {
    const what = round % 2 === 0 ? 'request' : 'answer';
    // The last time for so long that Willow gives up waiting for its statements, which arrive all the same, late.
    const isLong = round === rounds - 1;
    const downs = countLogged(willow, 'link.down');
    const losses = countLogged(willow, 'lease.lost');
    const ups = countLogged(willow, 'link.up');
    const stall = stallAtNextWrite(way, what);
    await publishAll(mosquitto.url, part);
    await until(`a write whose ${what} is held`, stall.isHeld);
    const before = await lastWrite(database);
    await until('the lease given up', () => countLogged(willow, 'lease.lost') > losses);
    await until('the end of the lease by the clock of the database', () => isLeaseOver(database));
    if (isLong) await until('the statement given up', () => countLogged(willow, 'link.down') > downs);
    expect(await lastWrite(database)).toBe(before);
    way.release();
    // One row says that it was written, none that it was refused. Given up, it has nobody to be answered to.
    if (!isLong) expect(await until('the answer', stall.answer)).toBe(what === 'request' ? 'SELECT 0' : 'SELECT 1');
    await until('the link up again', () => countLogged(willow, 'link.up') > ups);
  }
  way.judge(null);
  await untilSettled(mosquitto.url, willow);
  expect(way.faults.hold).toBeGreaterThanOrEqual(rounds);
  const log = await readLog(database.pool);
  expect(deviationsFrom(log, expected)).toEqual([]);
  expect(await absentees(willow, log)).toEqual([]);
});

/** Holds everything from the next write on, or from its answer on; then `answer` tells the tag of that answer. */
function stallAtNextWrite(way: TcpProxy<PostgresPacket>, what: 'request' | 'answer') {
  let writer: number | null = null;
  let isHeld = false;
  let answer: string | null = null;
  way.judge(({ from, packet: { type, text }, connection }) => {
    if (writer === null && from === 'client' && type === 'B' && text === 'write-fenced') {
      writer = connection;
      if (what === 'answer') return 'pass';
      isHeld = true;
      return 'hold';
    }
    if (connection !== writer || from === 'client') return 'pass';
    if (type === 'C') answer ??= text;
    if (isHeld || what === 'request') return 'pass';
    isHeld = true;
    return 'hold';
  });
  return { isHeld: () => isHeld, answer: () => answer };
}

async function isLeaseOver({ pool }: TestDatabase): Promise<boolean> {
  const { rowCount } = await pool.query('select from links where lease_until < clock_timestamp()');
  return rowCount === 1;
}

/** The transaction of the last write to the log. */
async function lastWrite({ pool }: TestDatabase): Promise<string | undefined> {
  const { rows } = await pool.query<{ xmin: string }>('select xmin::text from log_head');
  return rows[0]?.xmin;
}

function countLogged(willow: Willow, event: string): number {
  return willow.log().filter((line) => line.event === event).length;
}
