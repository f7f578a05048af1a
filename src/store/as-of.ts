// What tells of a user at a moment. The times of his events never decrease with their sequence, so the newest of a moment is found by
// halving, whatever is missing in between: some 20 look-ups of an index in a million events, and none is added for it. Where he was
// announced for the last time at the moment or before, his own row says what is true since. Only where he was announced again later is it
// read back to the newest announcement: what came and went meanwhile lies in between.

import type pg from 'pg';
import type { Announced, Trace } from '../core/as-of.ts';
import type { UserId } from '../core/ids.ts';
import type { EventType } from '../core/session.ts';
import { ask } from './database.ts';

export type Past = { readonly events: readonly Trace[]; readonly last: Announced | null };

/** Up to `low` all events are of the moment or before it, above `high` none is. */
const asOfSql = `
  with recursive halved as (
    select 0::bigint as low, coalesce((select u.sequence from users u where u.user_id = $1), 0) as high
    union all
    select case when e.at <= moment.at then e.sequence else h.low end, case when e.at <= moment.at then h.high else middle.sequence - 1 end
    from halved h
    cross join (select to_timestamp($2::float8 / 1000) as at) moment
    cross join lateral (select (h.low + h.high + 1) / 2 as sequence) middle
    left join lateral (
      select n.sequence, n.at from events n where n.user_id = $1 and n.sequence between middle.sequence and h.high
      order by n.sequence limit 1) e on true
    where h.low < h.high),
  found as (select low from halved where low = high),
  last as materialized (
    select (select true from sessions l where l.user_id = $1 and l.ended_at is null limit 1) is not null as is_online, u.since
    from users u where u.user_id = $1 and u.since <= to_timestamp($2::float8 / 1000))
  (select case when is_online then 'user.online' else 'user.offline' end as type, null::bigint as sequence, since as at from last)
  union
  (select e.type, e.sequence, e.at from found, lateral (
    select * from events a where a.user_id = $1 and a.sequence <= found.low and a.type in ('user.online', 'user.offline')
      and (select count(*) from last) = 0
    order by a.sequence desc limit 1) e)
  union
  (select e.type, e.sequence, e.at from found join events e on e.user_id = $1 and e.sequence = found.low)
  union
  (select e.type, e.sequence, e.at from found, lateral (
    select * from events a where a.user_id = $1 and found.low = 0 order by a.sequence limit 1) e)
  order by sequence`;

/**
 * Of this moment or before: the newest event, and the newest that says that the user came online or went offline, in their order; or that
 * one as `last`, where it is the last of all. Where there is no event so early: the first.
 */
export async function readPast(pool: pg.Pool, userId: UserId, atMs: number): Promise<Past> {
  const { rows } = await ask<{ type: EventType; sequence: number | null; at: number }>(pool, {
    name: 'as-of',
    text: asOfSql,
    values: [userId, atMs],
  });
  const last = rows.find(({ sequence }) => sequence === null);
  return {
    events: rows.flatMap(({ type, sequence, at }) => (sequence === null ? [] : [{ type, sequence, atMs: at }])),
    last: last === undefined ? null : { status: last.type === 'user.online' ? 'online' : 'offline', sinceMs: last.at },
  };
}
