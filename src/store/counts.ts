// How many users are online, in one statement, so as of one position of the log. It looks at every live session and at every user:
// let it be asked by one at a time.

import type pg from 'pg';
import { invariant } from '../runtime/invariant.ts';
import { ask } from './database.ts';
import { type LinkScope, linkScopeSql, linkViewColumns } from './links.ts';

export type Counts = {
  /** Users of whom a session is live. */
  readonly online: number;
  /** Sessions in their grace. */
  readonly lost: number;
  /** Sessions that are live. */
  readonly sessions: number;
  /** Users that were ever heard of, and not erased. */
  readonly users: number;
  readonly asOfMs: number | null;
  /** The link is down, or a will of one of these sessions may have been lost. */
  readonly isStale: boolean;
  /** Of the log. */
  readonly position: number;
};

type CountsRow = Pick<Counts, 'online' | 'lost' | 'sessions' | 'users' | 'position'> & {
  readonly is_up: boolean;
  readonly heard_at: number | null;
  readonly missed: boolean;
};

const countsSql = `
  select link.*, h.position, s.*, (select count(*) from users) as users
  from (select ${linkViewColumns} from links l where ${linkScopeSql(1)}) link
  cross join log_head h
  cross join lateral (
    select count(distinct l.user_id) as online, count(*) as sessions, count(*) filter (where l.status = 'lost') as lost,
      coalesce(bool_or(l.last_seen_at < link.gap_at), false) as missed
    from sessions l where l.ended_at is null) s`;

export async function readCounts(pool: pg.Pool, scope: LinkScope): Promise<Counts> {
  const { rows } = await ask<CountsRow>(pool, {
    name: 'counts',
    text: countsSql,
    values: [scope.clientId, scope.sharedGroup],
  });
  const [row] = rows;
  invariant(row !== undefined, 'the log has a head');
  const { online, lost, sessions, users, position, is_up: isUp, heard_at: asOfMs, missed } = row;
  return { online, lost, sessions, users, position, asOfMs, isStale: !isUp || missed };
}
