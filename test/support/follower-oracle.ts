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

export type Judgement = {
  /** Every state that is not the log's at its position, as a sentence. */
  readonly wrong: readonly string[];
  readonly states: number;
  readonly last: Users;
};

/** Whoever follows those who are online alone need not know the others. */
export function judge(served: Iterable<Served>, log: readonly Logged[], followsAll: boolean): Judgement {
  const wrong: string[] = [];
  const users: Record<string, CopiedUser> = {};
  let states = 0;
  let last: Users = {};
  let next = 0;
  for (const state of served) {
    for (; next < log.length && (log[next]?.position ?? 0) <= state.position; next += 1) {
      const event = log[next] as Logged;
      users[event.userId] = after(users[event.userId], event);
    }
    const different = differences(state.users, users, followsAll);
    if (different.length > 0) wrong.push(`at ${state.position}: ${different.join('; ')}`);
    last = state.users;
    states += 1;
  }
  return { wrong, states, last };
}

function after(user: CopiedUser | undefined, { type, sequence, sessionId, at }: Logged): CopiedUser {
  const { status, since, sessionIds } = user ?? nobody;
  const others = sessionIds.filter((id) => id !== sessionId);
  switch (type) {
    case 'session.started':
      return { status, since, sequence, sessionIds: [...others, sessionId] };
    case 'session.ended':
      return { status, since, sequence, sessionIds: others };
    default:
      return { status: type === 'user.online' ? 'online' : 'offline', since: at, sequence, sessionIds };
  }
}

const nobody: CopiedUser = { status: 'offline', since: null, sequence: 0, sessionIds: [] };

/** Whose copy is not what it must be. */
export function differences(copy: Users, truth: Users, followsAll: boolean): readonly string[] {
  const everybody = new Set([...Object.keys(copy), ...Object.keys(truth)]);
  return [...everybody].flatMap((userId) => {
    const must = truth[userId] ?? nobody;
    const mayBeUnknown = must.status === 'offline' && (!followsAll || must.sequence === 0);
    const is = copy[userId];
    if (is === undefined && mayBeUnknown) return [];
    // Who was offline when the snapshot was taken, and is heard of again: since when is told by the next change of his status.
    const isSinceUnknown = !followsAll && is?.status === 'offline' && is.since === null;
    const known = isSinceUnknown ? { ...must, since: null } : must;
    return textOf(is) === textOf(known) ? [] : [`${userId} is ${textOf(is)}, must be ${textOf(known)}`];
  });
}

function textOf(user: CopiedUser | undefined): string {
  if (user === undefined) return 'unknown';
  const { status, since, sequence, sessionIds } = user;
  return `${status} since ${since}, ${sequence} [${sessionIds.toSorted().join(', ')}]`;
}

/** As the tables have it now. */
export async function usersInTables(pool: pg.Pool): Promise<Users> {
  const { rows } = await pool.query<CopiedUser & { readonly userId: string }>(`
    select u.user_id as "userId", u.sequence::int, ${isoText('u.since')} as since,
      case when count(s) > 0 then 'online' else 'offline' end as status,
      coalesce(json_agg(s.session_id) filter (where s.session_id is not null), '[]') as "sessionIds"
    from users u left join sessions s on s.user_id = u.user_id and s.ended_at is null group by u.user_id`);
  return Object.fromEntries(rows.map(({ userId, ...user }) => [userId, user]));
}
