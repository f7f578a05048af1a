// The two events that tell what was of a user at a moment. The times of his events never decrease with their sequence, so the newest of a
// moment is found by halving, whatever is missing in between: some 20 look-ups of an index in a million events, and none is added for it.
// From there back to the newest that announced him it is read: what came and went while he was online all the time lies in between.

import type pg from 'pg';
import type { UserId } from '../core/ids.ts';
import type { EventType } from '../core/session.ts';
import { ask } from './database.ts';

export type Trace = { readonly type: EventType; readonly sequence: number; readonly atMs: number };

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
  found as (select low from halved where low = high)
  (select e.type, e.sequence, e.at from found, lateral (
    select * from events a where a.user_id = $1 and a.sequence <= found.low and a.type in ('user.online', 'user.offline')
    order by a.sequence desc limit 1) e)
  union
  (select e.type, e.sequence, e.at from found join events e on e.user_id = $1 and e.sequence = found.low)
  order by sequence`;

/** Of this moment or before: the newest event, and the newest that says that the user came online or went offline; in their order. */
export async function readPast(pool: pg.Pool, userId: UserId, atMs: number): Promise<readonly Trace[]> {
  const { rows } = await ask<{ type: EventType; sequence: number; at: number }>(pool, {
    name: 'as-of',
    text: asOfSql,
    values: [userId, atMs],
  });
  return rows.map(({ type, sequence, at }) => ({ type, sequence, atMs: at }));
}
