// Reads the users that a batch is about: their live sessions and those that its signals name, in one statement, so in one snapshot.
// Nothing is locked: the write finds out whether a user changed meanwhile, by its revision.

import type pg from 'pg';
import { defaultSessionId, type SessionId, type UserId } from '../core/ids.ts';
import { type Session, type UserState, unknownUser } from '../core/session.ts';
import type { Signal } from '../core/signal.ts';
import { ask } from './database.ts';
import { type SessionRow, sessionColumns, sessionOf, type UserRow, userColumns, userOf } from './rows.ts';

export type LoadedUser = {
  /** 0: the user has no row yet. */
  readonly revision: number;
  readonly user: UserState;
};

// `offset 0` keeps each inner query whole: as a join, a plan from the time when there were no statistics may read an index of all sessions
// once for each user.
const loadSql = `
  select ${userColumns}, ${sessionColumns}
  from users u left join lateral (
    select * from sessions l where l.user_id = u.user_id and l.ended_at is null offset 0) s on true
  where u.user_id = any($1::text[])
  union all
  select n.user_id, null, null, null, null, null, null, null, ${sessionColumns}
  from unnest($2::text[], $3::text[]) as n(user_id, session_id)
  cross join lateral (
    select * from sessions e where e.user_id = n.user_id and e.session_id = n.session_id offset 0) s
  where s.ended_at is not null`;

type Row = (UserRow | { readonly user_id: string; readonly revision: null }) &
  (SessionRow | { readonly session_id: null });

export async function loadUsers(pool: pg.Pool, signals: readonly Signal[]): Promise<Map<UserId, LoadedUser>> {
  const users = new Map<UserId, LoadedUser>();
  const sessions = new Map<UserId, Map<SessionId, Session>>();
  const named = new Map<string, readonly [UserId, SessionId]>();
  for (const signal of signals) {
    if (!users.has(signal.userId)) {
      users.set(signal.userId, { revision: 0, user: unknownUser(signal.userId) });
      sessions.set(signal.userId, new Map());
    }
    for (const sessionId of namedSessions(signal))
      named.set(`${sessionId}\0${signal.userId}`, [signal.userId, sessionId]);
  }
  const pairs = [...named.values()];
  const { rows } = await ask<Row>(pool, {
    name: 'load-users',
    text: loadSql,
    values: [[...users.keys()], pairs.map(([userId]) => userId), pairs.map(([, sessionId]) => sessionId)],
  });
  for (const row of rows) {
    const userId = row.user_id as UserId;
    const ofUser = sessions.get(userId) ?? new Map<SessionId, Session>();
    if (row.session_id !== null) ofUser.set(row.session_id as SessionId, sessionOf(row));
    if (row.revision !== null) users.set(userId, { revision: row.revision, user: userOf(row, ofUser) });
  }
  return users;
}

/** The sessions whose past a decision on this signal may depend on. */
function namedSessions(signal: Signal): readonly SessionId[] {
  switch (signal.kind) {
    case 'login':
    case 'prepare':
      return [signal.sessionId];
    case 'will':
    case 'logout':
      if (signal.sessionId === null || signal.sessionId === defaultSessionId) return [defaultSessionId];
      return signal.epoch === null ? [signal.sessionId, defaultSessionId] : [signal.sessionId];
    case 'kick':
      return signal.sessionId === null ? [] : [signal.sessionId];
    case 'lapse':
      return [];
  }
}
