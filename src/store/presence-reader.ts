// Presence, read for all requests of one turn of the event loop at once, straight from the tables: no cache, nothing to invalidate, every
// process always right. What this query costs, there and here, is what a presence request costs: every column and every row counts.

import type pg from 'pg';
import type { ClientId, Epoch, SessionId, UserId } from '../core/ids.ts';
import { type Known, type LinkView, type Presence, presenceOf, type ShownSession } from '../core/presence.ts';
import type { Device } from '../core/signal.ts';
import { ask } from './database.ts';
import { type LinkScope, linkScopeSql, linkViewColumns } from './links.ts';
import { loadInTurns } from './turns.ts';

/** 0 where the user has no row. */
type Version = { readonly revision: number };
export type VersionedPresence = Presence & Version;

const usersPerQueryMax = 1_000;
/** Enough that neither the database nor this process waits for the other: 24,800 requests/s instead of 22,600 with two, and no more with eight. */
const queriesInFlightMax = 4;

/** Of each user `u` as many rows as he has live sessions, at least one. */
export const shownColumns = `u.user_id, u.revision, u.sequence, ${timeMs('u.since')}, ${timeMs('u.last_seen_at')},
    s.session_id, s.status::text, case when not s.unheard then s.epoch end, s.client_id, s.device,
    ${timeMs('s.started_at')}, ${timeMs('s.last_seen_at')}`;
export const liveSessions = 'select * from sessions l where l.user_id = u.user_id and l.ended_at is null offset 0';

// One snapshot for all of it: a row that tells of the link, and then those of the users.
export const linkRowSql = (scopeAt: number): string => `
  select null::text, null::int8, is_up::int::int8, ${timeMs('heard_at')}, ${timeMs('gap_at')},
    null::text, null::text, null::int8, null::text, null::jsonb, null::int8, null::int8
  from (select ${linkViewColumns} from links l where ${linkScopeSql(scopeAt)}) link`;
const presenceSql = `${linkRowSql(2)}
  union all
  select ${shownColumns} from users u left join lateral (${liveSessions}) s on true
  where u.user_id = any($1::text[])`;

/** A whole number: a text that is shorter, and read sooner, than that of a time or of a fraction. */
export function timeMs(column: string): string {
  return `(date_part('epoch', ${column}) * 1000)::int8`;
}

type NoSession = readonly [null, null, null, null, null, null, null];
type SessionColumns = readonly [
  sessionId: string,
  status: 'online' | 'lost',
  epoch: number | null,
  clientId: string | null,
  device: Device | null,
  startedAtMs: number,
  lastSeenAtMs: number,
];
export type LinkRow = readonly [
  null,
  null,
  isUp: number,
  heardAtMs: number | null,
  gapAtMs: number | null,
  ...NoSession,
];
export type UserRow = readonly [
  userId: string,
  revision: number,
  sequence: number,
  sinceMs: number | null,
  lastSeenAtMs: number | null,
  ...(NoSession | SessionColumns),
];

/** Presence of a user; concurrent requests become one query. */
export function createPresenceReader(pool: pg.Pool, scope: LinkScope): (userId: UserId) => Promise<VersionedPresence> {
  const read = (userIds: readonly UserId[]) => readPresences(pool, scope, userIds);
  return loadInTurns(read, { queriesInFlightMax, idsPerQueryMax: usersPerQueryMax });
}

/** One for each id, in their order. */
async function readPresences(
  pool: pg.Pool,
  scope: LinkScope,
  userIds: readonly UserId[],
): Promise<VersionedPresence[]> {
  const { rows } = await ask<LinkRow | UserRow>(pool, {
    name: 'presence',
    text: presenceSql,
    values: [userIds, scope.clientId, scope.sharedGroup],
    rowMode: 'array',
  });
  return presencesIn(rows, userIds);
}

/** One for each id, in their order. */
export function presencesIn(rows: readonly (LinkRow | UserRow)[], userIds: readonly UserId[]): VersionedPresence[] {
  let link: LinkView = { isUp: false, heardAtMs: null, gapAtMs: null };
  const known = new Map<string, KnownSoFar>();
  for (const row of rows) {
    if (row[0] === null) link = { isUp: row[2] === 1, heardAtMs: row[3], gapAtMs: row[4] };
    else addTo(known, row);
  }
  return userIds.map((userId) => presenceOf(known.get(userId) ?? neverSeen(userId), link));
}

export type KnownSoFar = Known & Version & { readonly sessions: ShownSession[] };

function neverSeen(userId: UserId): KnownSoFar {
  return { userId, revision: 0, sequence: 0, sinceMs: null, lastSeenAtMs: null, sessions: [] };
}

export function addTo(known: Map<string, KnownSoFar>, row: UserRow): void {
  const [userId, revision, sequence, sinceMs, lastSeenAtMs] = row;
  let user = known.get(userId);
  if (user === undefined) {
    user = { userId: userId as UserId, revision, sequence, sinceMs, lastSeenAtMs, sessions: [] };
    known.set(userId, user);
  }
  if (row[5] === null) return;
  user.sessions.push({
    sessionId: row[5] as SessionId,
    status: row[6],
    epoch: row[7] as Epoch | null,
    clientId: row[8] as ClientId | null,
    device: row[9],
    startedAtMs: row[10],
    lastSeenAtMs: row[11],
  });
}
