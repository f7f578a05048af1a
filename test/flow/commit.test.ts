import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { type Committed, commit, type Decide, type Entry } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };

let database: TestDatabase;
let pools: readonly ReturnType<typeof openPool>[];

beforeAll(async () => {
  database = await createDatabase();
  const onError = () => undefined;
  pools = Array.from({ length: 4 }, () =>
    openPool(database.url, { connectionsMax: 2, statementMsMax: 30_000, onError }),
  );
});

afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await database[Symbol.asyncDispose]();
});

function entry(kind: 'login' | 'will', user: string, session: string, epoch: number): Entry {
  const heard = { clientId: null, device: null, isRedelivery: false, ticket: null };
  const identity = { userId: UserId.parse(user), sessionId: SessionId.parse(session), epoch: Epoch.parse(epoch) };
  return {
    signal: { kind, ...identity, ...heard },
    nowMs: Date.now(),
    lapseUntilMs: Date.now(),
    receipt: null,
    mayBeCommitted: false,
  };
}

const poolOf = (writer: number) => pools[writer % pools.length] as (typeof pools)[number];

async function write(
  writer: number,
  entries: readonly Entry[],
  onDecide: () => void = () => undefined,
): Promise<Committed> {
  const counted: Decide = (user, signal, moment) => {
    onDecide();
    return decide(user, signal, moment, rules);
  };
  return commit(poolOf(writer), entries, counted, null);
}

type LoggedEvent = {
  readonly position: number;
  readonly user_id: string;
  readonly sequence: number;
  readonly type: string;
};

async function eventsAfter(position: number): Promise<readonly LoggedEvent[]> {
  const { rows } = await database.pool.query<LoggedEvent>(
    'select position::int, user_id, sequence::int, type from events where position > $1 order by position',
    [position],
  );
  return rows;
}

async function newest(): Promise<number> {
  const { rows } = await database.pool.query<{ position: number }>('select position::int from log_head');
  return rows[0]?.position ?? 0;
}

/** Somebody else who appends: a transaction that has drawn a position and is not committed yet. */
async function holdHead() {
  const client = await database.pool.connect();
  await client.query('begin');
  const { rows } = await client.query<{ position: number }>(
    'update log_head set position = position + 1 returning position::int',
  );
  const position = rows[0]?.position ?? 0;
  await client.query(
    `insert into events (position, user_id, sequence, type, session_id, at)
     values ($1, $2, 1, 'session.started', 'raw', now())`,
    [position, `raw-${position}`],
  );
  return {
    position,
    release: async () => {
      await client.query('commit');
      client.release();
    },
  };
}

async function writersWaiting(count: number): Promise<void> {
  await until(`${count} writers to wait for the head of the log`, async () => {
    const { rows } = await database.pool.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
       where datname = current_database() and application_name = 'willow' and wait_event_type = 'Lock'`,
    );
    return rows[0]?.count === count;
  });
}

describe('positions', () => {
  test('a writer that comes second is not seen before the first, though the first has not committed yet', async () => {
    const start = await newest();
    const first = await holdHead();
    const second = write(0, [entry('login', 'second', 'phone', 1)]);
    await writersWaiting(1);
    expect(await eventsAfter(start)).toEqual([]);
    await first.release();
    await second;
    const seen = await eventsAfter(start);
    expect(seen.map(({ position }) => position)).toEqual([start + 1, start + 2, start + 3]);
    expect(seen[0]).toMatchObject({ position: first.position, user_id: `raw-${first.position}` });
  });

  test('a reader that follows the log while four write finds every event once, in order, none ever behind it', async () => {
    const start = await newest();
    const commits = 60;
    const perCommit = 5;
    let isWriting = true;
    const read: LoggedEvent[] = [];
    const reader = (async () => {
      for (let last = start, isLast = false; !isLast; ) {
        isLast = !isWriting;
        const page = await eventsAfter(last);
        read.push(...page);
        last = page.at(-1)?.position ?? last;
      }
    })();
    const writers = pools.map(async (_, writer) => {
      for (let round = 0; round < commits; round += 1) {
        const users = Array.from({ length: perCommit }, (__, index) => `w${writer}-${round}-${index}`);
        const births = users.map((user) => entry('login', user, 'phone', 1));
        await write(writer, [...births, ...users.map((user) => entry('will', user, 'phone', 1))]);
      }
    });
    await Promise.all(writers);
    isWriting = false;
    await reader;
    const count = pools.length * commits * perCommit * 4;
    expect(read.map(({ position }) => position)).toEqual(
      Array.from({ length: count }, (_, index) => start + 1 + index),
    );
    expect(await newest()).toBe(start + count);
  });
});

/** Commits that have all read the same revision of a user before any of them writes; how often each decided. */
async function collide(entries: readonly Entry[]): Promise<readonly number[]> {
  const decisions = entries.map(() => 0);
  const head = await holdHead();
  const commits = entries.map((one, writer) =>
    write(writer, [one], () => {
      decisions[writer] = (decisions[writer] ?? 0) + 1;
    }),
  );
  await writersWaiting(entries.length);
  expect(decisions).toEqual(entries.map(() => 1));
  await head.release();
  await Promise.all(commits);
  return decisions;
}

async function storyOf(userId: string): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ sequence: number; type: string }>(
    'select sequence::int, type from events where user_id = $1 order by position',
    [userId],
  );
  expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1));
  return rows.map(({ type }) => type);
}

describe('two commits about one user at once', () => {
  test('both are applied when the user is new: one of them decides again', async () => {
    const decisions = await collide([entry('login', 'new', 'phone', 1), entry('login', 'new', 'tablet', 1)]);
    expect(decisions.toSorted((a, b) => a - b)).toEqual([1, 2]);
    expect(await storyOf('new')).toEqual(['session.started', 'user.online', 'session.started']);
  });

  test('both are applied when the user is known: the last will takes the user offline', async () => {
    await write(0, [entry('login', 'known', 'phone', 1), entry('login', 'known', 'tablet', 1)]);
    const decisions = await collide([entry('will', 'known', 'phone', 1), entry('will', 'known', 'tablet', 1)]);
    expect(decisions.toSorted((a, b) => a - b)).toEqual([1, 2]);
    expect((await storyOf('known')).slice(3)).toEqual(['session.ended', 'session.ended', 'user.offline']);
  });

  test('the same will twice is announced once: who decides again finds the end', async () => {
    await write(0, [entry('login', 'twice', 'phone', 1)]);
    const will = entry('will', 'twice', 'phone', 1);
    const decisions = await collide([will, will]);
    expect(decisions.toSorted((a, b) => a - b)).toEqual([1, 2]);
    expect(await storyOf('twice')).toEqual(['session.started', 'user.online', 'session.ended', 'user.offline']);
  });

  test('eight at once are all applied, with sequences without a gap', async () => {
    const entries = Array.from({ length: 8 }, (_, index) => entry('login', 'busy', `device-${index}`, 1));
    const decisions = await collide(entries);
    expect(Math.max(...decisions)).toBeGreaterThan(1);
    expect(await storyOf('busy')).toHaveLength(9);
  });

  test('a conflict leaves nothing behind of the attempt that failed, of other users neither', async () => {
    const users = ['shared', 'only-first'];
    const head = await holdHead();
    const first = write(
      0,
      users.map((user) => entry('login', user, 'phone', 1)),
    );
    const second = write(
      1,
      ['shared', 'only-second'].map((user) => entry('login', user, 'tablet', 1)),
    );
    await writersWaiting(2);
    await head.release();
    const outcomes = await Promise.all([first, second]);
    expect(outcomes.map(({ outcomes: each }) => each)).toEqual([
      ['applied', 'applied'],
      ['applied', 'applied'],
    ]);
    expect(await storyOf('shared')).toEqual(['session.started', 'user.online', 'session.started']);
    expect(await storyOf('only-first')).toEqual(['session.started', 'user.online']);
    expect(await storyOf('only-second')).toEqual(['session.started', 'user.online']);
  });
});

describe('an entry of the audit trail', () => {
  const kicked = (user: string): Entry => {
    const userId = UserId.parse(user);
    const audit = { actor: 'loopback', action: 'user.kicked', target: `user:${userId}`, detail: {} } as const;
    return { ...entry('login', user, 'phone', 1), signal: { kind: 'kick', userId, sessionId: null }, audit };
  };
  const trail = async () =>
    (await database.pool.query<{ target: string }>('select target from audit order by id')).rows.map(
      ({ target }) => target,
    );

  test('is written for those of a batch that changed something, and for no others', async () => {
    await write(0, [entry('login', 'there', 'phone', 1)]);
    await write(0, [kicked('there'), kicked('never-there')]);
    expect(await trail()).toEqual(['user:there']);
  });

  test('is not left behind by an attempt that met a conflict, and is written once', async () => {
    await write(0, [entry('login', 'contended', 'phone', 1)]);
    const before = await trail();
    const head = await holdHead();
    let decisions = 0;
    const first = write(0, [entry('login', 'contended', 'tablet', 1)]);
    await writersWaiting(1);
    const second = write(1, [kicked('contended')], () => {
      decisions += 1;
    });
    await writersWaiting(2);
    await head.release();
    await Promise.all([first, second]);
    expect(decisions).toBe(2);
    expect(await trail()).toEqual([...before, 'user:contended']);
  });
});

test('when all is done the log has no gap, and its head is its newest position', async () => {
  const events = await eventsAfter(0);
  expect(events.map(({ position }) => position)).toEqual(events.map((_, index) => index + 1));
  expect(await newest()).toBe(events.length);
});
