// What was, told from the log: whether a user was online at a moment that has passed. It needs no more than the newest event up to
// that moment and the newest that announced him (I7, I8), so it holds as long as the log keeps those two. Where it has not got them, as
// while a user is erased, it says so: that nothing is found is not that nothing was.

import type { UserId } from './ids.ts';
import type { Event } from './session.ts';

export type PastPresence = {
  readonly userId: UserId;
  readonly status: 'online' | 'offline';
  /** When the user had last come online or gone offline; null when he never had. */
  readonly sinceMs: number | null;
  /** Of the newest event up to then; 0 when there was none. */
  readonly sequence: number;
  readonly atMs: number;
};

export type Trace = Pick<Event, 'type' | 'sequence' | 'atMs'>;
/** What is true of the user since he was announced the last time of all. */
export type Announced = Pick<PastPresence, 'status'> & { readonly sinceMs: number };

/**
 * Events of the user, in the order of their sequences; those after the moment tell only whether there was one before. `last` where it was at
 * the moment or before. Null: these events cannot tell.
 */
export function presenceAt(
  userId: UserId,
  atMs: number,
  events: readonly Trace[],
  last: Announced | null = null,
): PastPresence | null {
  const newest = events.findLast((event) => event.atMs <= atMs);
  const announced = last ?? announcedBy(events, atMs);
  if (newest === undefined) {
    const isBeforeAll = last === null && (events[0]?.sequence ?? 1) === 1;
    return isBeforeAll ? { userId, status: 'offline', sinceMs: null, sequence: 0, atMs } : null;
  }
  // Whoever has events was announced with the first of them, at the same time.
  return announced === null ? null : { userId, ...announced, sequence: newest.sequence, atMs };
}

function announcedBy(events: readonly Trace[], atMs: number): Announced | null {
  const event = events.findLast(
    (one) => one.atMs <= atMs && (one.type === 'user.online' || one.type === 'user.offline'),
  );
  if (event === undefined) return null;
  return { status: event.type === 'user.online' ? 'online' : 'offline', sinceMs: event.atMs };
}
