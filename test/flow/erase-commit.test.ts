// Erasing a user while others write about him: whoever has read him before decides anew, and nothing of the old user comes back.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { type AheadEnd, commit, type Entry, type Order, type Plan } from '../../src/store/commit.ts';
import { openPool } from '../../src/store/database.ts';
import { eraseUser } from '../../src/store/erase.ts';
import { writeLanes } from '../../src/store/lanes.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { persistently } from '../support/persistently.ts';
import { until } from '../support/until.ts';

const rules = { graceMs: 0, repeatWindowMs: 0, takeoverWindowMs: 0, leaseMs: 0 };

let database: TestDatabase;
let pool: ReturnType<typeof openPool>;

beforeAll(async () => {
  database = await createDatabase();
  pool = openPool(database.url, { connectionsMax: 8, statementMsMax: 30_000, onError: () => undefined });
});

afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});

const erase = (user: string) => eraseUser(pool, UserId.parse(user), 'loopback');

function login(user: string, epoch: number, session = 'phone'): Entry {
  const identity = { userId: UserId.parse(user), sessionId: SessionId.parse(session), epoch: Epoch.parse(epoch) };
  return {
    signal: { kind: 'login', ...identity, clientId: null, device: null, isRedelivery: false, ticket: null },
    nowMs: Date.now(),
    lapseUntilMs: null,
    receipt: null,
    mayBeCommitted: false,
  };
}

const nothing: Plan = { users: new Map(), receipts: [] };

type Hooks = { readonly onDecide?: () => void; readonly order?: Order };

const write = (entries: readonly Entry[], { onDecide, order }: Hooks = {}) =>
  commit(
    pool,
    entries,
    (user, signal, moment) => {
      onDecide?.();
      return decide(user, signal, moment, rules);
    },
    null,
    order ?? null,
  );

async function storyOf(user: string): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ told: string }>(
    `select sequence || ' ' || type || ' ' || session_id || '@' || epoch as told from events where user_id = $1 order by sequence`,
    [user],
  );
  return rows.map(({ told }) => told);
}

async function rowsOf(user: string) {
  const { rows } = await database.pool.query<{ sessions: number; sequence: number | null }>(
    `select (select count(*)::int from sessions where user_id = $1) as sessions,
      (select sequence::int from users where user_id = $1) as sequence`,
    [user],
  );
  return rows[0];
}

const starts = (session = 'phone', epoch = 1) => [
  `1 session.started ${session}@${epoch}`,
  `2 user.online ${session}@${epoch}`,
];

/** Nobody appends meanwhile. */
async function holdHead() {
  const client = await database.pool.connect();
  await client.query('begin');
  await client.query('update log_head set position = position');
  return async () => {
    await client.query('commit');
    client.release();
  };
}

async function waiting(count: number): Promise<void> {
  await until(`${count} statements to wait`, async () => {
    const { rows } = await database.pool.query<{ count: number }>(
      `select count(*)::int from pg_stat_activity
       where datname = current_database() and application_name = 'willow' and wait_event_type = 'Lock'`,
    );
    return rows[0]?.count === count;
  });
}

describe('a commit that has read the user before he is erased', () => {
  test('decides anew, and makes a new user', async () => {
    await write([login('read-before', 5)]);
    const release = await holdHead();
    let decisions = 0;
    const writing = write([login('read-before', 1, 'tablet')], {
      onDecide: () => {
        decisions += 1;
      },
    });
    await waiting(1);
    await erase('read-before');
    await release();
    await writing;
    expect(decisions).toBe(2);
    expect(await storyOf('read-before')).toEqual(starts('tablet'));
    expect(await rowsOf('read-before')).toEqual({ sessions: 1, sequence: 2 });
  });

  test('does so too when he has come again meanwhile, with as many writes as before', async () => {
    await write([login('came-again', 5)]);
    let decisions = 0;
    const decided = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<AheadEnd>();
    const writing = write([login('came-again', 6, 'tablet')], {
      onDecide: () => {
        decisions += 1;
      },
      order: { ahead: { ...nothing, end: goOn.promise }, onDecided: () => decided.resolve() },
    });
    await decided.promise;
    await erase('came-again');
    await write([login('came-again', 1)]);
    goOn.resolve('as-planned');
    await writing;
    expect(decisions).toBe(2);
    expect(await storyOf('came-again')).toEqual([...starts(), '3 session.started tablet@6']);
    expect(await rowsOf('came-again')).toEqual({ sessions: 2, sequence: 3 });
  });

  test('and was decided while the batch before was being written: it decides anew, and so does who follows it', async () => {
    await write([login('pipelined', 1)]);
    const planned = Promise.withResolvers<Plan>();
    const end = Promise.withResolvers<AheadEnd>();
    const release = await holdHead();
    const first = write([login('pipelined', 2)], {
      order: { ahead: { ...nothing, end: Promise.resolve('as-planned') }, onDecided: planned.resolve },
    });
    await waiting(1);
    const plan = await planned.promise;
    let decisions = 0;
    const second = write([login('pipelined', 3)], {
      order: { ahead: { ...plan, end: end.promise }, onDecided: () => undefined },
      onDecide: () => {
        decisions += 1;
      },
    });
    await until('the second to be decided', () => decisions === 1);
    await release();
    await first;
    end.resolve('as-planned');
    await erase('pipelined');
    await second;
    // Written before the user was erased, or decided anew after it: never in between.
    const isAsPlanned = decisions === 1;
    const story = await storyOf('pipelined');
    if (isAsPlanned) expect(story).toEqual([]);
    else expect(story).toEqual(starts('phone', 3));
    const left = await rowsOf('pipelined');
    expect(left).toEqual(isAsPlanned ? { sessions: 0, sequence: null } : { sessions: 1, sequence: 2 });
  });
});

test('a commit that is being written is waited for, and all of it is erased', async () => {
  await write([login('in-flight', 1)]);
  const client = await database.pool.connect();
  await client.query('begin');
  await client.query(`update users set revision = revision + 1, sequence = sequence + 1 where user_id = 'in-flight'`);
  await client.query(
    `insert into events (position, user_id, sequence, type, session_id, at)
     select position + 1000, 'in-flight', 3, 'session.started', 'tablet', now() from log_head`,
  );
  const erasing = erase('in-flight');
  await waiting(1);
  // Nobody else waits with it.
  await write([login('somebody-else', 1)]);
  await client.query('commit');
  client.release();
  await erasing;
  expect(await storyOf('in-flight')).toEqual([]);
  expect(await rowsOf('in-flight')).toEqual({ sessions: 0, sequence: null });
});

test('an event that a lane is parking is parked and erased, or not parked at all', async () => {
  const key = { endpointId: 'whe_parking', generation: 1, lane: 0 };
  await database.pool.query(
    `insert into endpoints (id, url, events, lanes, max_batch, secret, created_at, updated_at)
     values ('whe_parking', 'https://example.com', null, 1, 1, '', now(), now())`,
  );
  await database.pool.query(
    `insert into lanes (endpoint_id, generation, lane, "of", position, token) values ('whe_parking', 1, 0, 1, 0, 1)`,
  );
  const park = async (user: string) => {
    const { rows } = await database.pool.query<{ position: number }>(
      'select position::int from events where user_id = $1 order by position limit 1',
      [user],
    );
    const position = rows[0]?.position ?? 0;
    const event = {
      position,
      type: 'session.started',
      userId: user,
      sequence: 1,
      sessionId: 'phone',
      epoch: 1,
    } as never;
    const parked = { event, reason: 'refused', atMs: Date.now(), attempts: 3, status: 422, detail: null };
    const state = {
      position,
      attempts: 0,
      refusals: 0,
      firstFailedAtMs: null,
      nextAtMs: 0,
      batch: null,
      singlesTo: null,
    };
    const rest = { token: 1, isOver: false, attempts: [], succeededAtMs: null, failedAtMs: null, disabled: null };
    return () => writeLanes(pool, [{ ...key, ...rest, state, parked: [parked] }]);
  };
  const parkedUsers = async () =>
    (await database.pool.query<{ user_id: string }>('select user_id from parked order by user_id')).rows.map(
      ({ user_id }) => user_id,
    );

  await write([login('parked-late', 1), login('parked-first', 1), login('parked-stays', 1)]);
  const [late, first, stays] = [await park('parked-late'), await park('parked-first'), await park('parked-stays')];
  await erase('parked-late');
  // The lane goes on, though there is nothing to park.
  expect(await late()).toHaveLength(1);
  expect(await stays()).toHaveLength(1);
  expect(await parkedUsers()).toEqual(['parked-stays']);

  // The lane has it first: the erasing waits, and finds it.
  const client = await database.pool.connect();
  await client.query('begin');
  await client.query(`update lanes set token = token where endpoint_id = 'whe_parking'`);
  const parking = first();
  await waiting(1);
  await client.query('commit');
  client.release();
  await parking;
  expect(await parkedUsers()).toEqual(['parked-first', 'parked-stays']);
  await erase('parked-first');
  expect(await parkedUsers()).toEqual(['parked-stays']);
});

test('under load: four writers, and somebody who erases; every user is whole at the end', async () => {
  const users = Array.from({ length: 6 }, (_, index) => `load-${index}`);
  let isWriting = true;
  let erased = 0;
  const eraser = (async () => {
    for (let n = 0; isWriting; n += 1) {
      await erase(users[n % users.length] ?? '');
      erased += 1;
    }
  })();
  let epoch = 100;
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let round = 0; round < 40; round += 1) {
      epoch += 1;
      await persistently(() => write(users.map((user) => login(user, epoch, `device-${(writer + round) % 3}`))));
    }
  });
  await Promise.all(writers).finally(() => {
    isWriting = false;
  });
  await eraser;
  expect(erased).toBeGreaterThan(users.length);
  for (const user of users) {
    const story = await storyOf(user);
    expect(story.map((line) => Number(line.split(' ')[0]))).toEqual(story.map((_, index) => index + 1));
    const started = new Set(
      story.filter((line) => line.includes('session.started')).map((line) => line.split(' ')[2]?.split('@')[0]),
    );
    const left = await rowsOf(user);
    expect(left).toEqual({ sessions: started.size, sequence: story.length === 0 ? null : story.length });
  }
});
