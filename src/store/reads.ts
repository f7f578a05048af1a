// What readers ask. Presence is read for all requests of one turn of the event loop at once, straight from the tables:
// no cache, nothing to invalidate, every process always right.

import type pg from 'pg';
import type { ClientId, Epoch, SessionId, UserId } from '../core/ids.ts';
import { type Known, type Presence, presenceOf, type ShownSession } from '../core/presence.ts';
import { type Event, type Session, unknownUser } from '../core/session.ts';
import { ask } from './database.ts';
import { type LinkScope, type LinkViewRow, linkScopeSql, linkViewColumns, linkViewOf } from './links.ts';
import {
  type EventRow,
  eventColumns,
  eventOf,
  type SessionRow,
  sessionColumns,
  sessionOf,
  type UserRow,
} from './rows.ts';
import { loadInTurns } from './turns.ts';

/** 0 where the user has no row. */
type Version = { readonly revision: number };
export type VersionedPresence = Presence & Version;

export type LoggedEvent = Event & { readonly position: number };

const usersPerQueryMax = 1_000;
/** One at the database while the answers of the other are written. */
const queriesInFlightMax = 2;

/** Fewer columns than a decision needs, and times as numbers: what this query costs is what a presence request costs. */
const presenceSql = `
  select link.*, u.user_id, u.revision, u.sequence, ${timeMs('u.since')} as since, ${timeMs('u.last_seen_at')} as last_seen_at,
    s.session_id, s.status::text, case when not s.unheard then s.epoch end as epoch, s.client_id, s.device,
    ${timeMs('s.started_at')} as started_at,
    ${timeMs('s.last_seen_at')} as session_seen_at
  from (select ${linkViewColumns} from links l where ${linkScopeSql(2)}) link
  left join users u on u.user_id = any($1::text[])
  left join lateral (
    select * from sessions l where l.user_id = u.user_id and l.ended_at is null offset 0) s on true`;

function timeMs(column: string): string {
  return `date_part('epoch', ${column}) * 1000`;
}

type UserColumns = Pick<UserRow, 'user_id' | 'revision' | 'sequence' | 'since' | 'last_seen_at'>;
type SessionColumns = Pick<
  SessionRow,
  'session_id' | 'epoch' | 'client_id' | 'device' | 'started_at' | 'session_seen_at'
> & { readonly status: 'online' | 'lost' };
type PresenceRow = LinkViewRow &
  (UserColumns | { readonly user_id: null }) &
  (SessionColumns | { readonly session_id: null });

/** Presence of a user; concurrent requests become one query. */
export function createPresenceReader(pool: pg.Pool, scope: LinkScope): (userId: UserId) => Promise<VersionedPresence> {
  const read = async (userIds: readonly UserId[]): Promise<VersionedPresence[]> => {
    const { rows } = await ask<PresenceRow>(pool, {
      name: 'presence',
      text: presenceSql,
      values: [userIds, scope.clientId, scope.sharedGroup],
    });
    const link = linkViewOf(rows[0]);
    const rowsOf = Map.groupBy(rows, (row) => row.user_id);
    return userIds.map((userId) => presenceOf(knownOf(userId, rowsOf.get(userId) ?? []), link));
  };
  return loadInTurns(read, { queriesInFlightMax, idsPerQueryMax: usersPerQueryMax });
}

function knownOf(userId: UserId, rows: readonly PresenceRow[]): Known & Version {
  const [user] = rows;
  if (user === undefined || user.user_id === null) return { ...unknownUser(userId), revision: 0, sessions: [] };
  const sessions = rows.flatMap((row) => (row.session_id === null ? [] : [shownSessionOf(row)]));
  const { revision, sequence } = user;
  const sinceMs = roundedOrNull(user.since);
  return { userId, revision, sequence, sinceMs, lastSeenAtMs: roundedOrNull(user.last_seen_at), sessions };
}

function shownSessionOf(row: SessionColumns): ShownSession {
  return {
    sessionId: row.session_id as SessionId,
    status: row.status,
    epoch: row.epoch as Epoch | null,
    clientId: row.client_id as ClientId | null,
    device: row.device,
    startedAtMs: Math.round(row.started_at),
    lastSeenAtMs: Math.round(row.session_seen_at),
  };
}

/** Seconds times a thousand are not always whole. */
function roundedOrNull(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}

/** All sessions of a user, ended ones too, newest first. */
export async function listSessions(
  pool: pg.Pool,
  userId: UserId,
  page: {
    readonly limit: number;
    readonly after: { readonly startedAtMs: number; readonly sessionId: SessionId } | null;
  },
): Promise<readonly Session[]> {
  const { rows } = await ask<SessionRow>(pool, {
    text: `select ${sessionColumns} from sessions s
       where s.user_id = $1 and ($2::float8 is null or (s.started_at, s.session_id) < (to_timestamp($2 / 1000), $3))
       order by s.started_at desc, s.session_id desc limit $4`,
    values: [userId, page.after?.startedAtMs ?? null, page.after?.sessionId ?? null, page.limit],
  });
  return rows.map(sessionOf);
}

/** The events of a user after a sequence, oldest first. */
export async function listEventsOfUser(
  pool: pg.Pool,
  userId: UserId,
  page: { readonly afterSequence: number; readonly limit: number },
): Promise<readonly LoggedEvent[]> {
  const { rows } = await ask<EventRow>(pool, {
    text: `select ${eventColumns} from events e where e.user_id = $1 and e.sequence > $2 order by e.sequence limit $3`,
    values: [userId, page.afterSequence, page.limit],
  });
  return rows.map(eventOf);
}
