// Where in the log a reader may begin: at a position that it still has, or at a time. What is gone is said, with the place where the log
// now begins; nobody is let past a gap in silence.

import type pg from 'pg';
import { ask } from './database.ts';
import { logHorizon } from './retention.ts';
import type { Tx } from './transact.ts';

export type Gone = { readonly kind: 'gone'; readonly startsAfter: number };
export type Ahead = { readonly kind: 'ahead'; readonly head: number };
export type Refusal = Gone | Ahead;

type Head = { readonly position: number; readonly trimmed: number };

/**
 * The ends of the log. Nothing is trimmed until the transaction ends: whoever moves `trimmed` locks the row FOR UPDATE, and then looks for
 * readers. Those who append do not wait for this lock, nor it for them.
 */
export async function headOfLog(tx: Tx): Promise<Head> {
  const { rows } = await tx.ask<Head>({ text: 'select position, trimmed from log_head for key share' });
  return rows[0] ?? { position: 0, trimmed: 0 };
}

/** The position itself, if a reader can begin behind it; null is the end of the log. */
export async function startOf(tx: Tx, after: number | null): Promise<number | Refusal> {
  const { position, trimmed } = await headOfLog(tx);
  if (after === null) return position;
  if (after < trimmed) return { kind: 'gone', startsAfter: trimmed };
  return after > position ? { kind: 'ahead', head: position } : after;
}

/** Clocks of processes may differ by as much, and a clock may go back by as much, without an event being left out. */
const clockMarginMs = 60_000;

/**
 * The position behind which all events of a time and later are. There is no index by time, and times need not grow with positions: they are
 * per user only, and clocks differ. So the log is halved (some 27 look-ups of the primary key in 100 million events) until a place is found
 * that is a margin before the time, and from there it is read up to the first event that is not.
 */
export async function positionBefore(pool: pg.Pool, sinceMs: number): Promise<number | Gone> {
  const { rows } = await ask<Head>(pool, { text: 'select position, trimmed from log_head' });
  const { position: head, trimmed } = rows[0] ?? { position: 0, trimmed: 0 };
  let before = trimmed;
  let notBefore = head;
  while (before < notBefore) {
    const middle = Math.floor((before + notBefore) / 2);
    const event = await nextEvent(pool, middle);
    if (event === null || event.position > notBefore || event.at >= sinceMs - clockMarginMs) notBefore = middle;
    else before = event.position;
  }
  const { rows: first } = await ask<{ position: number }>(pool, {
    text: `select position from events where position > $1 and at >= to_timestamp($2::float8 / 1000) order by position limit 1`,
    values: [before, sinceMs],
  });
  const horizonMs = await logHorizon(pool);
  if (horizonMs !== null && horizonMs >= sinceMs) return { kind: 'gone', startsAfter: trimmed };
  return (first[0]?.position ?? head + 1) - 1;
}

async function nextEvent(pool: pg.Pool, after: number): Promise<{ position: number; at: number } | null> {
  const { rows } = await ask<{ position: number; at: number }>(pool, {
    name: 'next-event',
    text: 'select position, at from events where position > $1 order by position limit 1',
    values: [after],
  });
  return rows[0] ?? null;
}
