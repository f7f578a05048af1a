// The log in pages, as somebody asks for it who keeps no connection: oldest first, of some types or one user. Where the log begins and ends is
// of the same moment as the events, so that no page leaves out in silence what retention takes meanwhile. No page looks at more than a bounded
// stretch: of one user's events, which the index by sequence has in the order of their positions, or else of the log.

import type pg from 'pg';
import type { EventType } from '../core/session.ts';
import { ask } from './database.ts';
import type { LogSlice } from './log.ts';
import { type EventRow, eventColumns, eventOf } from './rows.ts';

export type LogQuestion = {
  /** Null: from the oldest that is kept; what is behind it, and kept for the sake of its user, is no part of the log any more. */
  readonly after: number | null;
  readonly limit: number;
  readonly types: ReadonlySet<EventType> | null;
  readonly userId: string | null;
};

/** `upTo`: everything up to there was looked at. */
export type LogPage = LogSlice & { readonly upTo: number };

/** So many events are looked at for those that are wanted. */
export const stretchEvents = 5_000;

const pageSql = (stretch: string): string => `
  start as materialized (select h.position as head, h.trimmed, coalesce($1::bigint, h.trimmed) as after from log_head h),
  ${stretch},
  shown as (
    select ${eventColumns} from stretch e where $3::text[] is null or e.type = any($3) order by e.position limit $4)
  select start.head, start.trimmed,
    (select case when count(*) < $2 then start.head else max(s.position) end from stretch s) as up_to, e.*
  from start left join shown e on true order by e.position`;

const logSql = `with ${pageSql(`
  stretch as materialized (
    select e.* from start, lateral (
      select * from events e where e.position > start.after and e.position <= start.head order by e.position limit $2) e)`)}`;

/**
 * A user's positions grow with his sequence: the place of the first one behind a position is found by halving, some 20 look-ups where he has a
 * million events. What is missing among the sequences is stepped over.
 */
const userSql = `with recursive ${pageSql(`
  halving as (
    select 0::bigint as low, coalesce((select u.sequence from users u where u.user_id = $5), 0) as high
    union all
    select case when found.position <= start.after then found.sequence else h.low end,
      case when found.position <= start.after then h.high else (h.low + h.high) / 2 end
    from halving h, start, lateral (
      select (select e.sequence from events e where e.user_id = $5 and e.sequence > (h.low + h.high) / 2 order by e.sequence limit 1),
        (select e.position from events e where e.user_id = $5 and e.sequence > (h.low + h.high) / 2 order by e.sequence limit 1)
      ) found (sequence, position)
    where h.low < h.high),
  place as materialized (select max(low) as low from halving),
  stretch as materialized (
    select e.* from start, place, lateral (
      select * from events e where e.user_id = $5 and e.sequence > place.low and e.position > start.after
      order by e.sequence limit $2) e)`)}`;

/** As many events as are asked for, and one more where there is one; fewer where the stretch has no more. */
export async function listEvents(pool: pg.Pool, { after, limit, types, userId }: LogQuestion): Promise<LogPage> {
  const wanted = limit + 1;
  const values = [after, types === null ? wanted : stretchEvents, types === null ? null : [...types], wanted];
  const statement =
    userId === null
      ? { name: 'list-events', text: logSql, values }
      : { name: 'list-events-of', text: userSql, values: [...values, userId] };
  type Ends = { readonly head: number; readonly trimmed: number; readonly up_to: number };
  const { rows } = await ask<Ends & (EventRow | { readonly position: null })>(pool, statement);
  const [ends] = rows;
  return {
    head: ends?.head ?? 0,
    trimmed: ends?.trimmed ?? 0,
    upTo: ends?.up_to ?? 0,
    events: rows.flatMap((row) => (row.position === null ? [] : [eventOf(row)])),
  };
}
