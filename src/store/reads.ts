// The lists of one user that readers ask for: his sessions and his events, page by page, straight from the tables.

import type pg from 'pg';
import type { SessionId, UserId } from '../core/ids.ts';
import type { Event, Session } from '../core/session.ts';
import { ask } from './database.ts';
import type { Gone } from './log-start.ts';
import { type EventRow, eventColumns, eventOf, type SessionRow, sessionColumns, sessionOf } from './rows.ts';

export type LoggedEvent = Event & { readonly position: number };

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

/**
 * The events of a user after one of them, or from the oldest that the log has, oldest first. Gone: what comes next is given up; that his newest
 * before is kept tells so, whatever else of it is still there. Positions grow with the sequences of a user, and go on growing when he is
 * erased and comes again with a sequence from 1: where his oldest is behind the position, none of his was read, and it begins with that one.
 */
export async function listEventsOfUser(
  pool: pg.Pool,
  userId: UserId,
  page: { readonly after: Pick<LoggedEvent, 'sequence' | 'position'> | null; readonly limit: number },
): Promise<readonly LoggedEvent[] | Gone> {
  const { rows } = await ask<{ trimmed: number } & (EventRow | { readonly position: null })>(pool, {
    text: `select h.trimmed, ${eventColumns} from log_head h left join lateral (
        select * from events where user_id = $1 and ($2::bigint is not null or position > h.trimmed) and sequence > case
            when (select o.position from events o where o.user_id = $1 order by o.sequence limit 1) <= $4::bigint then $2 else 0 end
        order by sequence limit $3) e on true`,
    values: [userId, page.after?.sequence ?? null, page.limit, page.after?.position ?? null],
  });
  const events = rows.flatMap((row) => (row.position === null ? [] : [eventOf(row)]));
  const startsAfter = rows[0]?.trimmed ?? 0;
  const [first] = events;
  return first !== undefined && first.position <= startsAfter ? { kind: 'gone', startsAfter } : events;
}
