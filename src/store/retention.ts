// Retention: events and ended sessions that are too old go, a stretch of the log at a time. First a stretch is given up, which tells readers
// that it may be gone (`log_head.trimmed`), and never while a lane that may send still has to read it; then its rows are deleted, behind a
// place of its own (`log_tail`), so that a process that dies in between leaves them to the next. Of each user his newest event is kept, and his
// newest user.online or user.offline: what he was at any moment since the horizon stays known.
//
// No statement waits for a row that others have: what is locked is left for the next time. So nobody waits in a circle, and writers wait for a
// moment at the head of the log, no longer than for each other.

import type pg from 'pg';
import { ask } from './database.ts';

/** Of each user so many of the sessions that have ended, the newest, stay for ever: devices that come back are known by their last epoch. */
const sessionsRememberedMax = 32;
/** In one statement, so that nobody waits for it. */
const stretchEventsMax = 1_000;
const sessionsAtOnceMax = 1_000;
/** Of one user, among which the newest are looked for: more than are deleted at once and remembered. */
const sessionsRankedMax = 10_000;

/**
 * The time up to which events may be gone, null while none is. Who asks after he has read knows of his answer whether it is whole: what a
 * user was at this time, or later, is answered from what is kept.
 */
export async function logHorizon(pool: pg.Pool): Promise<number | null> {
  const { rows } = await ask<{ horizon: number | null }>(pool, {
    name: 'log-horizon',
    text: 'select horizon from log_head',
  });
  return rows[0]?.horizon ?? null;
}

export type GivenUp = {
  readonly isMore: boolean;
  /** Of the oldest event that is not given up; null where there is none. */
  readonly oldestAtMs: number | null;
  /** The webhook that has not got what is too old, where there is one. */
  readonly heldBy: string | null;
};

type StretchRow = {
  readonly trimmed: number;
  readonly is_behind: boolean;
  readonly count: number;
  readonly oldest_at: number | null;
  readonly held_by: string | null;
  readonly up_to: number | null;
  readonly newest: number | null;
};

// Times need not grow with positions, as clocks differ: the stretch ends before the first event that is young enough. While an earlier one is
// not swept, none is given up.
const stretchSql = `
  with next as materialized (
    select e.position, e.at from log_head h cross join lateral (
      select position, at from events where position > h.trimmed order by position limit $2) e),
  hold as materialized (
    select l.endpoint_id, l.position from lanes l where l.position < (select max(position) from next)
      and (l.lease_until > clock_timestamp()
        or exists (select from endpoints e where e.id = l.endpoint_id and e.status = 'enabled'))
    order by l.position limit 1),
  expired as materialized (
    select position, at from (
      select position, at, bool_or(at >= to_timestamp($1::float8 / 1000)) over (order by position) as is_young from next) n
    where not is_young)
  select h.trimmed, t.position < h.trimmed as is_behind, (select count(*) from next) as count, (select at from next order by position limit 1) as oldest_at,
    (select endpoint_id from hold where position < (select max(position) from expired)) as held_by, s.up_to, s.newest
  from log_head h cross join log_tail t left join lateral (
    select max(position) as up_to, max(at) as newest from expired
    where t.position = h.trimmed and position <= coalesce((select position from hold), position)) s on true`;

/** Gives up the next events that are older than a time, up to the first that is not, or that a webhook still has to get. */
export async function giveUpEvents(
  pool: pg.Pool,
  beforeMs: number,
  eventsMax: number = stretchEventsMax,
): Promise<GivenUp> {
  const { rows } = await ask<StretchRow>(pool, {
    name: 'expired-stretch',
    text: stretchSql,
    values: [beforeMs, eventsMax],
  });
  const [found] = rows;
  if (found === undefined) return { isMore: false, oldestAtMs: null, heldBy: null };
  const { trimmed, held_by: heldBy, up_to: upTo, newest } = found;
  if (upTo === null) return { isMore: found.is_behind, oldestAtMs: found.oldest_at, heldBy };
  await ask(pool, {
    name: 'give-up',
    text: 'select willow_give_up($1, $2, to_timestamp($3::float8 / 1000))',
    values: [trimmed, upTo, newest],
  });
  return { isMore: found.count === eventsMax && heldBy === null, oldestAtMs: found.oldest_at, heldBy };
}

/** The next of the events that were given up, and are not looked at yet. */
const givenUpSql = (tail: string) => `
  select e.position, e.user_id, e.sequence, e.type from ${tail} t cross join log_head h cross join lateral (
    select position, user_id, sequence, type from events
    where position > t.position and position <= h.trimmed order by position limit $1) e`;

// Who has one session more that is old enough has its end in the stretch, or in one to come.
// What is locked meanwhile, by who takes the session up again or erases the user, is left to him, and so is what changed a moment ago. A session
// that is gone by the time that a decision on it is written is written anew (write.ts).
const sessionsSql = `
  with old as materialized (
    select s.user_id, s.session_id from (
      select distinct user_id from (${givenUpSql('log_tail')}) g where type = 'session.ended') u
    cross join lateral (
      select r.user_id, r.session_id from (
        select s.user_id, s.session_id, s.ended_at from sessions s
        where s.user_id = u.user_id and s.ended_at <= (select horizon from log_head) limit ${sessionsRankedMax}) r
      order by r.ended_at desc, r.session_id desc offset ${sessionsRememberedMax}) s
    limit $2),
  free as materialized (
    select s.ctid from old o cross join lateral (
      select s.ctid from sessions s where s.user_id = o.user_id and s.session_id = o.session_id
        and s.ended_at <= (select horizon from log_head) for update skip locked) s),
  gone as (delete from sessions where ctid = any(array(select ctid from free)) returning 1)
  select (select count(*) from old) as found, (select count(*) from gone) as deleted,
    set_config('synchronous_commit', 'off', true)`;

// Everything of a user that is older than his newest event in the stretch goes, but for one: so does what an earlier stretch has kept. The
// place moves on once all of it could be deleted.
const eventsSql = `
  with tail as materialized (select position from log_tail for update skip locked),
  stretch as materialized (${givenUpSql('tail')}),
  newest as materialized (select user_id, max(sequence) as sequence from stretch group by user_id),
  old as materialized (
    select e.position from newest n
    left join lateral (
      select sequence from events where user_id = n.user_id and sequence <= n.sequence and type in ('user.online', 'user.offline')
      order by sequence desc limit 1) turn on true
    cross join lateral (
      select position from events where user_id = n.user_id and sequence < n.sequence
        and sequence is distinct from turn.sequence offset 0) e),
  free as materialized (
    select e.ctid from old o cross join lateral (
      select ctid from events where position = o.position for update skip locked) e),
  gone as (delete from events where ctid = any(array(select ctid from free)) returning 1),
  moved as (
    update log_tail set position = case when (select count(*) from stretch) < $1 then (select trimmed from log_head)
        else (select max(position) from stretch) end
    from tail where (select count(*) from gone) = (select count(*) from old) returning 1)
  select (select count(*) from stretch) as walked, (select count(*) from gone) as deleted,
    exists (select from moved) as is_clear, set_config('synchronous_commit', 'off', true)`;

export type Swept = { readonly isMore: boolean; readonly events: number; readonly sessions: number };

/** Deletes what the next stretch that was given up leaves: sessions first, as it is the stretch that tells whose. */
export async function sweepGivenUp(pool: pg.Pool, eventsMax: number = stretchEventsMax): Promise<Swept> {
  const { rows: ended } = await ask<{ found: number; deleted: number }>(pool, {
    name: 'sweep-sessions',
    text: sessionsSql,
    values: [eventsMax, sessionsAtOnceMax],
  });
  const sessions = ended[0]?.deleted ?? 0;
  // Some are left: the stretch is looked at once more.
  if (ended[0] !== undefined && (ended[0].found === sessionsAtOnceMax || sessions < ended[0].found))
    return { isMore: true, events: 0, sessions };
  const { rows } = await ask<{ walked: number; deleted: number; is_clear: boolean }>(pool, {
    name: 'sweep-events',
    text: eventsSql,
    values: [eventsMax],
  });
  const swept = rows[0] ?? { walked: 0, deleted: 0, is_clear: true };
  const isMore = swept.walked === eventsMax || (swept.walked > 0 && !swept.is_clear);
  return { isMore, events: swept.deleted, sessions };
}
