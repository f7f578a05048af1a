// The event log, as those who follow it read it. Positions become visible in their order (write.ts), so that a reader that has passed
// one never finds a smaller one later, and all events up to the head that a statement sees are there for that statement.

import type pg from 'pg';
import type { Event } from '../core/session.ts';
import { ask } from './database.ts';
import { type EventRow, eventColumns, eventOf } from './rows.ts';

export type LoggedEvent = Event & { readonly position: number };

export type LogSlice = {
  /** The position of the newest event, or of one that was erased since. */
  readonly head: number;
  /** Events up to here may be gone. */
  readonly trimmed: number;
  readonly events: readonly LoggedEvent[];
};

type Ends = Pick<LogSlice, 'head' | 'trimmed'>;

/** The events after a position, up to another one that is included, oldest first, and where the log begins and ends at that moment. */
export async function readLog(pool: pg.Pool, after: number, upTo: number): Promise<LogSlice> {
  const { rows } = await ask<Ends & (EventRow | { readonly position: null })>(pool, {
    name: 'read-log',
    text: `select h.position as head, h.trimmed, ${eventColumns} from log_head h
      left join events e on e.position > $1 and e.position <= $2 order by e.position`,
    values: [after, upTo],
  });
  return {
    head: rows[0]?.head ?? 0,
    trimmed: rows[0]?.trimmed ?? 0,
    events: rows.flatMap((row) => (row.position === null ? [] : [eventOf(row)])),
  };
}

/** The events at these positions that are still there, oldest first. */
export async function readEvents(pool: pg.Pool, positions: readonly number[]): Promise<readonly LoggedEvent[]> {
  const { rows } = await ask<EventRow>(pool, {
    name: 'read-events',
    text: `select ${eventColumns} from events e where e.position = any($1::bigint[]) order by e.position`,
    values: [positions],
  });
  return rows.map(eventOf);
}
