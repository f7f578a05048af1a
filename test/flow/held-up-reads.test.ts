import { expect, test } from 'vitest';
import { leaseMs } from '../../src/ingest/lease.ts';
import type { TestDatabase } from '../support/database.ts';
import { call, type ProblemBody } from '../support/http.ts';
import { announcedWhen, openStage, type Stage } from '../support/stage.ts';
import { lockTables } from '../support/table-lock.ts';
import { until } from '../support/until.ts';
import type { Willow } from '../support/willow.ts';

/** Many more than there are connections for them. */
const readers = 40;
const dear = '/users/ann/events';
const paths = [dear, '/users/ann/presence'];
/** 5 s for a connection and 5 s for the statement; a presence read may wait as long for the one before it. */
const readMsMax = 40_000;

type Read = { readonly path: string; readonly status: number; readonly type?: string; readonly retryAfter: number };

/** Reads that are asked again as soon as they are answered, until told to stop; then all answers. */
function readAllTheTime(willow: Willow) {
  let isOver = false;
  const answers: Read[] = [];
  const failures: unknown[] = [];
  const reader = async (path: string) => {
    while (!isOver) {
      const signal = AbortSignal.timeout(readMsMax);
      const { status, headers, body } = await call<Partial<ProblemBody>>(`${willow.http}${path}`, { signal });
      answers.push({
        path,
        status,
        ...(body.type && { type: body.type }),
        retryAfter: Number(headers.get('retry-after')),
      });
    }
  };
  const running = Array.from({ length: readers }, async (_, index) =>
    reader(paths[index % paths.length] ?? '').catch((error: unknown) => void failures.push(error)),
  );
  return {
    answers,
    failures,
    stop: async () => {
      isOver = true;
      await Promise.all(running);
    },
  };
}

/** Whoever reads users or events waits until it is released; sessions and the row of the link stay free. */
async function lockReads(database: TestDatabase) {
  const lock = await lockTables(database, 'users, events');
  const held = async () => {
    const { rows } = await database.pool.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
       where datname = current_database() and application_name = 'willow' and wait_event_type = 'Lock'`,
    );
    return rows[0]?.count ?? 0;
  };
  return { ...lock, held };
}

type Lease = { readonly token: number; readonly until_ms: number };

async function leaseOf({ pool }: TestDatabase): Promise<Lease> {
  const { rows } = await pool.query<Lease>(
    `select token::int, (extract(epoch from lease_until) * 1000)::float8 as until_ms from links`,
  );
  const [lease] = rows;
  if (lease === undefined || rows.length > 1) throw new Error(`${rows.length} links where one was wanted`);
  return lease;
}

const isTrouble = (event: string) => ['link.down', 'lease.lost', 'lease.unrenewed', 'commit.failed'].includes(event);

/** What must not happen to the link ends the wait for what must. */
function failOnTrouble({ willow }: Stage): void {
  const troubles = willow.log().filter(({ event }) => isTrouble(event));
  if (troubles.length > 0) throw new Error(`the link was disturbed: ${JSON.stringify(troubles)}`);
}

test('readers that hold up all that they may disturb neither the lease nor what is heard, and are told to come back', async () => {
  await using stage = await openStage({ GRACE_MS: '0' });
  const { willow, voice, database } = stage;
  await voice.say('/login', { userId: 'ann', sessionId: 'phone', epoch: 1 });
  await announcedWhen(willow, 'ann', 2);
  const before = await leaseOf(database);
  const reading = readAllTheTime(willow);
  try {
    await using lock = await lockReads(database);
    type Ready = { readonly checks: Readonly<Record<'database' | 'link', { readonly ok: boolean }>> };
    // Three dear reads, and those of presence: there are connections left for what asks for nothing that is locked.
    await until('as many reads held up as there can be', async () => (await lock.held()) > 3);
    const { checks } = (await willow.get<Ready>('/readyz')).body;
    expect(checks.database.ok).toBe(true);
    expect(checks.link.ok).toBe(true);
    // Nothing that this message needs is locked.
    await voice.say('/logout', '{');
    await until('a message that is settled', async () => {
      failOnTrouble(stage);
      return (await willow.metric('willow_quarantined_total')) === 1;
    });
    await until('the lease renewed for three times as long as it lasts', async () => {
      failOnTrouble(stage);
      return (await leaseOf(database)).until_ms > before.until_ms + 3 * leaseMs;
    });
    const isRefused = (path: string) => reading.answers.some((answer) => answer.path === path && answer.status === 503);
    await until('reads of each kind that are refused', () => {
      if (reading.failures.length > 0) throw reading.failures[0];
      return paths.every(isRefused);
    });
    await until('reads that are still held up', async () => (await lock.held()) > 0);
  } finally {
    await reading.stop();
  }
  expect(reading.failures).toEqual([]);
  // Those before the lock and after it are answered with what they ask for.
  expect(reading.answers.filter(({ status }) => status !== 200 && status !== 503)).toEqual([]);
  const refused = reading.answers.filter(({ status }) => status === 503);
  const [away, noTurn] = ['database-unavailable', 'overloaded'].map((type) => `urn:willow:problem:${type}`);
  for (const { path, type, retryAfter } of refused) {
    // Whose turn did not come was never read for.
    expect(path === dear ? [away, noTurn] : [away]).toContain(type);
    expect(retryAfter).toBeGreaterThan(0);
  }
  const waited = refused.filter(({ type }) => type === noTurn).length;
  expect(waited).toBeGreaterThan(0);
  expect(await willow.metric('willow_http_refused_total', { why: 'no-turn' })).toBeGreaterThan(0);
  expect(willow.log().filter(({ event, problem }) => event === 'request.failed' && problem === 'overloaded')).toEqual(
    [],
  );
  expect((await leaseOf(database)).token).toBe(before.token);
  failOnTrouble(stage);
  await voice.say('/logout', { userId: 'ann', sessionId: 'phone', epoch: 1 });
  await announcedWhen(willow, 'ann', 4);
  await willow.presenceWhen('ann', ({ status, stale }) => status === 'offline' && !stale);
}, 180_000);
