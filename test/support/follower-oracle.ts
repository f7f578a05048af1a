// What a copy must hold: the log replayed up to the copy's position, by a fold that shares no code with the follower; and in the end the
// tables themselves.

import type pg from 'pg';
import type { CopiedUser, Served } from './follower.ts';

type Logged = {
  readonly position: number;
  readonly sequence: number;
  readonly type: string;
  readonly userId: string;
  readonly sessionId: string;
  readonly at: string;
};

type Users = Served['users'];

/** The whole log, kept beside the one that retention shortens: look before each cut. */
export function openLogKeeper(pool: pg.Pool) {
  const log: Logged[] = [];
  return {
    log,
    /** Reads what has come since; returns the position of the last. */
    look: async (): Promise<number> => {
      const { rows } = await pool.query<Logged>(
        `select position::int, sequence::int, type, user_id as "userId", session_id as "sessionId", ${isoText('at')} as at
         from events where position > $1 order by position`,
        [log.at(-1)?.position ?? 0],
      );
      log.push(...rows);
      return log.at(-1)?.position ?? 0;
    },
  };
}

function isoText(column: string): string {
  return `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}

/**
 * Every served state that is not the log's at its position, as a sentence. Whoever follows those who are online alone need not know others.
 */
export function lies(served: Iterable<Served>, log: readonly Logged[], followsAll: boolean): readonly string[] {
  const wrong: string[] = [];
  const users: Record<string, CopiedUser> = {};
  let next = 0;
  for (const state of served) {
    for (; next < log.length && (log[next]?.position ?? 0) <= state.position; next += 1) {
      const event = log[next] as Logged;
      users[event.userId] = after(users[event.userId], event);
    }
    const different = differences(state.users, users, followsAll);
    if (different.length > 0) wrong.push(`at ${state.position}: ${different.join('; ')}`);
  }
  return wrong;
}

function after(user: CopiedUser | undefined, { type, sequence, sessionId, at }: Logged): CopiedUser {
  const { status, since, sessions } = user ?? nobody;
  const { [sessionId]: _ended, ...others } = sessions;
  switch (type) {
    case 'session.started':
      return { status, since, sequence, sessions: { ...sessions, [sessionId]: at } };
    case 'session.ended':
      return { status, since, sequence, sessions: others };
    default:
      return { status: type === 'user.online' ? 'online' : 'offline', since: at, sequence, sessions };
  }
}

const nobody: CopiedUser = { status: 'offline', since: null, sequence: 0, sessions: {} };

/** Whose copy is not what it must be. */
export function differences(copy: Users, truth: Users, followsAll: boolean): readonly string[] {
  const everybody = new Set([...Object.keys(copy), ...Object.keys(truth)]);
  return [...everybody].flatMap((userId) => {
    const must = truth[userId] ?? nobody;
    const mayBeUnknown = must.status === 'offline' && (!followsAll || must.sequence === 0);
    const is = copy[userId];
    if (is === undefined && mayBeUnknown) return [];
    return textOf(is) === textOf(must) ? [] : [`${userId} is ${textOf(is)}, must be ${textOf(must)}`];
  });
}

function textOf(user: CopiedUser | undefined): string {
  if (user === undefined) return 'unknown';
  const { status, since, sequence, sessions } = user;
  const live = Object.entries(sessions).map(([sessionId, at]) => `${sessionId} since ${at}`);
  return `${status} since ${since}, ${sequence} [${live.toSorted().join(', ')}]`;
}

/** As the tables have it now. */
export async function usersInTables(pool: pg.Pool): Promise<Users> {
  const { rows } = await pool.query<CopiedUser & { readonly userId: string }>(`
    select u.user_id as "userId", u.sequence::int, ${isoText('u.since')} as since,
      case when count(s) > 0 then 'online' else 'offline' end as status,
      coalesce(json_object_agg(s.session_id, ${isoText('s.started_at')}) filter (where s.session_id is not null), '{}') as sessions
    from users u left join sessions s on s.user_id = u.user_id and s.ended_at is null group by u.user_id`);
  return Object.fromEntries(rows.map(({ userId, ...user }) => [userId, user]));
}
