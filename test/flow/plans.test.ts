import { expect, test } from 'vitest';
import { UserId } from '../../src/core/ids.ts';
import type { EventType } from '../../src/core/session.ts';
import type { Signal } from '../../src/core/signal.ts';
import { readPast } from '../../src/store/as-of.ts';
import { openPool } from '../../src/store/database.ts';
import { findDueUsers } from '../../src/store/deadlines.ts';
import { loadUsers } from '../../src/store/load.ts';
import { readLog } from '../../src/store/log.ts';
import { listEvents } from '../../src/store/log-pages.ts';
import { listPresence, queryPresence } from '../../src/store/presence-lists.ts';
import { createPresenceReader } from '../../src/store/presence-reader.ts';
import { listEventsOfUser, listSessions } from '../../src/store/reads.ts';
import { giveUpEvents, sweepGivenUp } from '../../src/store/retention.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

type Pool = ReturnType<typeof openPool>;
type Statement = { readonly text: string; readonly values: readonly unknown[] };

type Node = {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly Node[];
};

/** As all connections of Willow are opened. */
function open(url: string): Pool {
  return openPool(url, { connectionsMax: 1, statementMsMax: 30_000, onError: () => undefined });
}

/** The very statements of a batch, of the sweeper, of readers and of retention, about so many users. */
async function statementsAbout(pool: Pool, users: number): Promise<readonly Statement[]> {
  const asked: Statement[] = [];
  const listening = Object.create(pool) as Pool;
  const query = pool.query.bind(pool) as (statement: Statement) => Promise<unknown>;
  listening.query = ((statement: Statement) => {
    asked.push(statement);
    return query(statement);
  }) as typeof pool.query;
  const userIds = Array.from({ length: users }, (_, index) => UserId.parse(`user-${index}`));
  const heard = { epoch: null, clientId: null, device: null, isRedelivery: false, ticket: null };
  await loadUsers(
    listening,
    userIds.map((userId): Signal => ({ kind: 'will', userId, sessionId: null, ...heard })),
  );
  await findDueUsers(listening, Date.now(), 500);
  const read = createPresenceReader(listening, { clientId: 'willow', sharedGroup: 'group' });
  await Promise.all(userIds.map(read));
  const scope = { clientId: 'willow', sharedGroup: 'group' };
  await queryPresence(listening, scope, userIds, false);
  for (const status of [null, 'online', 'offline'] as const) {
    for (const withSessions of [true, false])
      await listPresence(listening, scope, { status, withSessions }, { limit: users, after: null });
  }
  const [userId] = userIds;
  if (userId !== undefined) {
    await readPast(listening, userId, Date.now());
    await listSessions(listening, userId, { limit: 101, after: null });
    await listEventsOfUser(listening, userId, { after: null, limit: 101 });
    await listEventsOfUser(listening, userId, { after: { sequence: 1, position: 1 }, limit: 101 });
    const types = new Set<EventType>(['user.offline']);
    await listEvents(listening, { after: 3, limit: 100, types, userId: null });
    await listEvents(listening, { after: 3, limit: 100, types, userId });
  }
  await readLog(listening, 3, 259);
  await giveUpEvents(listening, 0);
  await sweepGivenUp(listening);
  expect(asked).toHaveLength(20);
  return asked;
}

/** `kept`: the plan that a connection keeps for a prepared statement, whatever the tables become; `once`: made for these values. */
type PlanKind = 'kept' | 'once';
const planKinds: readonly PlanKind[] = ['kept', 'once'];

async function planOf(pool: Pool, { text, values }: Statement, kind: PlanKind): Promise<readonly Node[]> {
  type Row = { readonly 'QUERY PLAN': readonly { readonly Plan: Node }[] };
  const { rows } =
    kind === 'kept'
      ? await pool.query<Row>(`explain (generic_plan, format json) ${text}`)
      : await pool.query<Row>({ text: `explain (format json) ${text}`, values: [...values] });
  const root = rows[0]?.['QUERY PLAN'][0]?.Plan;
  if (root === undefined) throw new Error('there is no plan');
  return flatten(root);
}

function flatten(plan: Node): Node[] {
  return [plan, ...(plan.Plans ?? []).flatMap(flatten)];
}

const growing = ['users', 'sessions', 'events'];
const isClosed = (node: Node) =>
  ['Materialize', 'Hash Join', 'Merge Join'].includes(node['Node Type']) ||
  (node['Node Type'] === 'Seq Scan' && growing.includes(node['Relation Name'] ?? ''));
/** Reads an index from its beginning to its end: as a scan of the table, and slower. */
const isWhole = (node: Node) =>
  node['Index Name'] !== undefined &&
  node['Index Cond'] === undefined &&
  (node['Relation Name'] === undefined || growing.includes(node['Relation Name']));

/** One session that is due, one that has ended, and two events for each user. */
const add = (first: number, last: number): readonly string[] => {
  const each = `from generate_series(${first}, ${last}) n`;
  return [
    `insert into users (user_id, revision, sequence) select 'user-' || n, 1, 2 ${each}`,
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, deadline_at)
       select 'user-' || n, 'phone', 'lost', 1, now(), now(), now() ${each}`,
    `insert into sessions (user_id, session_id, status, epoch, started_at, last_seen_at, ended_at, reason)
       select 'user-' || n, 'default', 'ended', 1, now(), now(), now(), 'will' ${each}`,
    `insert into events (position, user_id, sequence, type, session_id, at)
       select 2 * n + s, 'user-' || n, s, 'session.started', 'phone', now() ${each}, generate_series(1, 2) s`,
  ];
};
const empty = growing.map((table) => `delete from ${table}`);

const histories: readonly (readonly [tables: string, history: readonly string[]])[] = [
  ['are new', []],
  ['are small, and just analysed', [...add(1, 50), 'analyze']],
  ['have grown since they were analysed', [...add(1, 50), 'analyze', ...add(51, 20_000)]],
  ['have grown and were never analysed', add(1, 20_000)],
  ['are large, and just analysed', [...add(1, 20_000), 'analyze']],
  ['have shrunk since they were analysed', [...add(1, 20_000), 'analyze', ...empty, ...add(1, 50)]],
];

async function live({ pool }: TestDatabase, history: readonly string[]): Promise<void> {
  // Statistics change when the test says so.
  for (const table of [...growing, 'links']) await pool.query(`alter table ${table} set (autovacuum_enabled = false)`);
  await pool.query(`insert into links (client_id, token, holder, lease_until) values ('willow', 1, 'somebody', now())`);
  for (const statement of history) await pool.query(statement);
}

test.each(histories)(
  'a batch, the sweeper, readers and retention find their rows by index and in no other way, while the tables %s',
  async (_tables, history) => {
    await using database = await createDatabase();
    await live(database, history);
    const pool = open(database.url);
    try {
      for (const users of [1, 500]) {
        for (const statement of await statementsAbout(pool, users)) {
          for (const kind of planKinds) {
            const nodes = await planOf(pool, statement, kind);
            const what = `${kind}, ${users} users: ${statement.text}`;
            expect(nodes.filter(isClosed), what).toEqual([]);
            if (kind === 'kept') expect(nodes.filter(isWhole), what).toEqual([]);
            expect(
              nodes.some((node) => node['Index Name'] !== undefined),
              what,
            ).toBe(true);
          }
        }
      }
    } finally {
      await pool.end();
    }
  },
);

test('a plan from the time of a single user finds sessions by their user', async () => {
  await using database = await createDatabase();
  await live(database, [...add(1, 1), 'analyze']);
  const pool = open(database.url);
  try {
    for (const statement of await statementsAbout(pool, 500)) {
      expect(
        (await planOf(pool, statement, 'kept')).filter((node) => isWhole(node) || isClosed(node)),
        statement.text,
      ).toEqual([]);
    }
  } finally {
    await pool.end();
  }
});

test('no statement is compiled, whatever the server does by itself', async () => {
  await using database = await createDatabase();
  await database.pool.query(`do $$ begin execute format('alter database %I set jit = on', current_database()); end $$`);
  const pool = open(database.url);
  try {
    expect((await pool.query('show jit')).rows).toEqual([{ jit: 'off' }]);
  } finally {
    await pool.end();
  }
});
