// What was, told from the log: whether a user was online at a moment that has passed. It needs no more than the newest event up to
// that moment and the newest that announced him (I7, I8), so it holds as long as the log keeps those two.

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

type Trace = Pick<Event, 'type' | 'sequence' | 'atMs'>;

/** Events of the user, in the order of their sequences; those after the moment do not count. */
export function presenceAt(userId: UserId, atMs: number, events: readonly Trace[]): PastPresence {
  const past = events.filter((event) => event.atMs <= atMs);
  const announced = past.findLast(({ type }) => type === 'user.online' || type === 'user.offline');
  return {
    userId,
    status: announced?.type === 'user.online' ? 'online' : 'offline',
    sinceMs: announced?.atMs ?? null,
    sequence: past.at(-1)?.sequence ?? 0,
    atMs,
  };
}
