// The presence of many users in one statement, so in one snapshot: of those who are named, or of a page of all. A page comes with the
// position of the log at which it was read: what the events up to there have done is in it, and nothing of those behind.

import type pg from 'pg';
import type { UserId } from '../core/ids.ts';
import { type LinkView, type PresenceSummary, presenceOf, type ShownSession, summaryOf } from '../core/presence.ts';
import { invariant } from '../runtime/invariant.ts';
import { ask } from './database.ts';
import { type LinkScope, linkScopeSql, linkViewColumns } from './links.ts';
import {
  addTo,
  type KnownSoFar,
  type LinkRow,
  linkRowSql,
  liveSessions,
  presencesIn,
  shownColumns,
  timeMs,
  type UserRow,
} from './presence-reader.ts';

export type ListedPresence = PresenceSummary & {
  /** Where they were asked for. */
  readonly sessions?: readonly ShownSession[];
};

// As in presence-reader.ts a row that tells of the link, and of the log, and then those of the users.
const headColumns = `is_up::int::int8, ${timeMs('heard_at')}, ${timeMs('gap_at')}`;
const linkSql = (n: number) => `(select ${linkViewColumns} from links l where ${linkScopeSql(n)}) link`;
const summaryColumns = `u.is_online::int::int8, u.sequence, ${timeMs('u.since')}, ${timeMs('u.last_seen_at')}`;
// The row itself says it, unless it was written last by a version of Willow that did not know the column: then the sessions do. Not "exists",
// for which a plan from another time may read the index of all sessions and hash it.
const isOnline = `case u.revision when u.live_revision then true when -u.live_revision then false
  else (select true from sessions l where l.user_id = u.user_id and l.ended_at is null limit 1) is not null end as is_online`;

type HeadRow = readonly [
  userId: null,
  head: number,
  isUp: number,
  heardAtMs: number | null,
  gapAtMs: number | null,
  walked: UserId | null,
];
type SummaryRow = readonly [
  userId: UserId,
  isOnline: number,
  sequence: number,
  sinceMs: number | null,
  lastSeenAtMs: number | null,
];

const summariesSql = `
  select null::text, 0::int8, ${headColumns} from ${linkSql(2)}
  union all
  select u.user_id, ${summaryColumns}
  from (select u.*, ${isOnline} from users u where u.user_id = any($1::text[])) u`;

/** Of one answer: ten users who have as many as a user may have, or a thousand who have ten. */
export const sessionsAtOnceMax = 10_000;

export type TooManySessions = { readonly kind: 'too-many-sessions'; readonly sessionsMax: number };

/** One for each id, in their order; each is read once, however often it is named. */
export async function queryPresence(
  pool: pg.Pool,
  scope: LinkScope,
  userIds: readonly UserId[],
  withSessions: boolean,
): Promise<readonly ListedPresence[] | TooManySessions> {
  if (withSessions) return queryWithSessions(pool, scope, userIds);
  const { rows } = await ask<HeadRow | SummaryRow>(pool, {
    name: 'presence-query',
    text: summariesSql,
    values: [[...new Set(userIds)], scope.clientId, scope.sharedGroup],
    rowMode: 'array',
  });
  const link = linkOf(rows.find(isHead));
  const rowOf = new Map<UserId, SummaryRow>();
  for (const row of rows) if (!isHead(row)) rowOf.set(row[0], row);
  return userIds.map((userId) => summaryOfRow(rowOf.get(userId) ?? [userId, 0, 0, null, null], link));
}

const withSessionsSql = `${linkRowSql(2)}
  union all
  (select ${shownColumns} from users u left join lateral (${liveSessions}) s on true where u.user_id = any($1::text[]) limit $4)`;

/** No more rows are read than an answer has. */
async function queryWithSessions(
  pool: pg.Pool,
  scope: LinkScope,
  userIds: readonly UserId[],
): Promise<readonly ListedPresence[] | TooManySessions> {
  const asked = [...new Set(userIds)];
  const { rows } = await ask<LinkRow | UserRow>(pool, {
    name: 'presence-query-sessions',
    text: withSessionsSql,
    // A user without a session is a row as well.
    values: [asked, scope.clientId, scope.sharedGroup, sessionsAtOnceMax + asked.length + 1],
    rowMode: 'array',
  });
  const presenceOfId = new Map(presencesIn(rows, asked).map((presence) => [presence.userId, presence]));
  const presences = userIds.flatMap((userId) => presenceOfId.get(userId) ?? []);
  // Those of a repeated id count again: they are told again.
  const sessions = presences.reduce((sum, presence) => sum + presence.sessions.length, 0);
  return sessions > sessionsAtOnceMax ? { kind: 'too-many-sessions', sessionsMax: sessionsAtOnceMax } : presences;
}

const isHead = (row: HeadRow | SummaryRow | UserRow): row is HeadRow => row[0] === null;

function linkOf(head: HeadRow | undefined): LinkView {
  return { isUp: head?.[2] === 1, heardAtMs: head?.[3] ?? null, gapAtMs: head?.[4] ?? null };
}

function summaryOfRow([userId, isOn, sequence, sinceMs, lastSeenAtMs]: SummaryRow, link: LinkView): PresenceSummary {
  return summaryOf({ userId, sequence, sinceMs, lastSeenAtMs }, isOn === 1, link);
}

/** Those who are online may be many in a row: so many users are looked at for a page of those who are offline. */
export const usersWalkedMax = 5_000;

export type PageFilter = { readonly status: 'online' | 'offline' | null; readonly withSessions: boolean };

export type PresencePage = {
  /** In the order of their ids, as the database sorts them. */
  readonly users: readonly ListedPresence[];
  /** Where the next page begins; null at the end. A page may be short, or empty, and not be the last. */
  readonly nextAfter: UserId | null;
  /** The position of the log at which this page was read. */
  readonly head: number;
};

/**
 * Behind the id $3, $4 users at most; each finds them in the order of an index, and stops when it has enough. Who is online is found from one
 * user to the next: asked for all at once, statistics that are missing make the server gather and sort them all.
 */
const pages = {
  all: `select u.*, ${isOnline} from users u where u.user_id > $3 order by u.user_id limit $4`,
  online: `with recursive o as (
      (select l.user_id from sessions l where l.ended_at is null and l.user_id > $3 order by l.user_id limit 1)
      union all
      select n.user_id from o cross join lateral (
        select l.user_id from sessions l where l.ended_at is null and l.user_id > o.user_id order by l.user_id limit 1) n)
    select u.*, true as is_online from (select o.user_id from o limit $4) o
    cross join lateral (select * from users w where w.user_id = o.user_id offset 0) u order by u.user_id`,
  offline: `select * from (
      select u.*, ${isOnline} from users u where u.user_id > $3 order by u.user_id limit ${usersWalkedMax}) w
    where not w.is_online order by w.user_id limit $4`,
} as const;
const walkedSql = `(select u.user_id from users u where u.user_id > $3 order by u.user_id offset ${usersWalkedMax - 1} limit 1)`;

function pageSql(kind: keyof typeof pages, withSessions: boolean): string {
  const rest = withSessions ? 'null::text, null::int8, null::text, null::jsonb, null::int8, null::int8' : '';
  const head = `select null::text, h.position, ${headColumns}, ${kind === 'offline' ? walkedSql : 'null::text'}`;
  const users = withSessions
    ? `(select ${shownColumns} from (${pages[kind]}) u left join lateral (${liveSessions}) s on true order by u.user_id limit $5)`
    : `select u.user_id, ${summaryColumns}, null::text from (${pages[kind]}) u`;
  return `${head}${rest === '' ? '' : `, ${rest}`} from ${linkSql(1)} cross join log_head h union all ${users} order by 1 nulls first`;
}

/** With sessions a page ends early, behind a whole user, where they would be too many. */
export async function listPresence(
  pool: pg.Pool,
  scope: LinkScope,
  { status, withSessions }: PageFilter,
  { limit, after }: { readonly limit: number; readonly after: UserId | null },
): Promise<PresencePage> {
  // A user without a session is a row as well.
  const rowsMax = sessionsAtOnceMax + limit + 1;
  const { rows } = await ask<HeadRow | SummaryRow | UserRow>(pool, {
    // Without a name: a plan that is kept from the time of few users would gather and sort all of the many.
    text: pageSql(status ?? 'all', withSessions),
    values: [scope.clientId, scope.sharedGroup, after ?? '', limit + 1, ...(withSessions ? [rowsMax] : [])],
    rowMode: 'array',
  });
  const first = rows.find(isHead);
  const link = linkOf(first);
  const rest = rows.filter((row): row is SummaryRow | UserRow => !isHead(row));
  const found = withSessions
    ? presencesOf(rest as UserRow[], link)
    : (rest as SummaryRow[]).map((row) => summaryOfRow(row, link));
  const isCut = withSessions && rest.length === rowsMax;
  // Of the last of a page that is cut some sessions may be missing.
  const users = found.slice(0, isCut ? Math.min(limit, found.length - 1) : limit);
  const nextAfter = isCut || found.length > limit ? (users.at(-1)?.userId ?? null) : (first?.[5] ?? null);
  invariant(!isCut || users.length > 0, 'a user has fewer sessions than a page');
  return { users, nextAfter, head: first?.[1] ?? 0 };
}

function presencesOf(rows: readonly UserRow[], link: LinkView): readonly ListedPresence[] {
  const known = new Map<string, KnownSoFar>();
  for (const row of rows) addTo(known, row);
  return [...known.values()].map((one) => presenceOf(one, link));
}
