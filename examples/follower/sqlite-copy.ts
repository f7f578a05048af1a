// A copy in a file of SQLite, which Node brings along. Any other database will do: what matters is that the users, their sessions and the
// position are written in one transaction, and read in one.

import { DatabaseSync } from 'node:sqlite';
import type { Copy, LogEvent, SnapshotUser } from './follower.ts';

export type SqliteCopy = Copy &
  Disposable & {
    /** Null while the copy is not true: a snapshot is being read, or caught up with. */
    readonly presenceOf: (userId: string) => CopiedPresence | null;
    /** Forgets a user of whom nothing was heard behind this position. */
    readonly forget: (userId: string, position: number) => void;
  };

export type CopiedPresence = {
  readonly status: 'online' | 'offline';
  readonly since: string | null;
  readonly sequence: number;
  readonly sessionIds: readonly string[];
  /** As of where in the log, and when Willow was last heard, in ms: how far behind this may be is for the backend to judge. */
  readonly position: number;
  readonly heardAtMs: number;
};

// `users.position`: up to where the log is in this row. `place.true_from`: the head of the last page of the snapshot.
const schema = `
  pragma journal_mode = wal;
  pragma busy_timeout = 5000;
  create table if not exists users (
    user_id text primary key, status text not null, since text, sequence integer not null, position integer not null);
  create table if not exists sessions (
    user_id text not null, session_id text not null, primary key (user_id, session_id)) without rowid;
  create table if not exists place (
    id integer primary key check (id = 1), position integer not null, true_from integer not null, heard_at integer not null);`;

type UserRow = {
  readonly status: 'online' | 'offline';
  readonly since: string | null;
  readonly sequence: number;
  readonly position: number;
};
type PlaceRow = { readonly position: number; readonly heardAtMs: number; readonly isTrue: number };

export function openSqliteCopy(file: string): SqliteCopy {
  const database = new DatabaseSync(file);
  database.exec(schema);
  const statements = prepareAll(database);
  const { place, setPlace, movePlace, userOf, dropUser, sessionsOf, endSessions } = statements;
  return {
    position: () => (place.get() as PlaceRow | undefined)?.position ?? null,
    clear: () => transact(database, () => database.exec('delete from place; delete from sessions; delete from users')),
    add: (users, head) =>
      transact(database, () => {
        for (const user of users) add(statements, user, head);
      }),
    complete: (position, head) => transact(database, () => void setPlace.run(position, head, Date.now())),
    apply: (events, position) => {
      try {
        transact(database, () => {
          for (const event of events) apply(statements, event);
          movePlace.run(position, Date.now());
        });
        return true;
      } catch (error) {
        if (error instanceof Misfit) return false;
        throw error;
      }
    },
    presenceOf: (userId) =>
      transact(database, () => {
        const known = place.get() as PlaceRow | undefined;
        if (known === undefined || known.isTrue === 0) return null;
        const { position, heardAtMs } = known;
        const { status, since, sequence } = (userOf.get(userId) as UserRow | undefined) ?? neverSeen;
        const sessionIds = sessionsOf.all(userId).map((row) => row['sessionId'] as string);
        return { status, since, sequence, sessionIds, position, heardAtMs };
      }),
    forget: (userId, position) =>
      transact(database, () => {
        if (dropUser.run(userId, position).changes > 0) endSessions.run(userId);
      }),
    [Symbol.dispose]: () => database.close(),
  };
}

type Statements = ReturnType<typeof prepareAll>;

function prepareAll(database: DatabaseSync) {
  return {
    place: database.prepare('select position, heard_at as heardAtMs, position >= true_from as isTrue from place'),
    setPlace: database.prepare('insert or replace into place values (1, ?, ?, ?)'),
    movePlace: database.prepare('update place set position = max(position, ?), heard_at = ?'),
    userOf: database.prepare('select status, since, sequence, position from users where user_id = ?'),
    setUser: database.prepare('insert or replace into users values (?, ?, ?, ?, ?)'),
    dropUser: database.prepare('delete from users where user_id = ? and position <= ?'),
    sessionsOf: database.prepare('select session_id as sessionId from sessions where user_id = ? order by session_id'),
    setSession: database.prepare('insert or ignore into sessions values (?, ?)'),
    endSession: database.prepare('delete from sessions where user_id = ? and session_id = ?'),
    endSessions: database.prepare('delete from sessions where user_id = ?'),
  };
}

function add({ setUser, setSession }: Statements, user: SnapshotUser, head: number): void {
  const { userId, status, since, sequence, sessions } = user;
  setUser.run(userId, status, since, sequence, head);
  for (const { sessionId } of sessions) setSession.run(userId, sessionId);
}

function apply({ userOf, setUser, setSession, endSession, endSessions }: Statements, event: LogEvent): void {
  const { position, sequence, type, userId, sessionId, at } = event;
  const user = userOf.get(userId) as UserRow | undefined;
  // A page that was read later has it already, or it came twice.
  if (user !== undefined && user.position >= position) return;
  // Only who was erased begins anew.
  if (user !== undefined && sequence === 1) endSessions.run(userId);
  else if (user !== undefined && sequence !== user.sequence + 1) throw new Misfit(`${userId} has a gap`);
  let { status, since } = user ?? neverSeen;
  if (type === 'session.started') setSession.run(userId, sessionId);
  if (type === 'session.ended') endSession.run(userId, sessionId);
  if (type === 'user.online') [status, since] = ['online', at];
  if (type === 'user.offline') [status, since] = ['offline', at];
  setUser.run(userId, status, since, sequence, position);
}

function transact<T>(database: DatabaseSync, work: () => T): T {
  database.exec('begin immediate');
  try {
    const result = work();
    database.exec('commit');
    return result;
  } catch (error) {
    database.exec('rollback');
    throw error;
  }
}

const neverSeen: Omit<UserRow, 'position'> = { status: 'offline', since: null, sequence: 0 };

/** Thrown out of a transaction, so that it is rolled back. */
class Misfit extends Error {}
