// What readers are shown of a user, and how far it can be trusted. Nothing here decides: it only tells.

import type { UserId } from './ids.ts';
import type { EndedSession, LiveSession } from './session.ts';

/** What is shown of a live session; the epoch is that of its own connection, null while none was heard. */
export type ShownSession = Pick<
  LiveSession,
  'sessionId' | 'status' | 'epoch' | 'clientId' | 'device' | 'startedAtMs' | 'lastSeenAtMs'
>;

/** What a reader needs to know of a user; ended sessions may be left out. */
export type Known = {
  readonly userId: UserId;
  readonly sequence: number;
  readonly sinceMs: number | null;
  readonly lastSeenAtMs: number | null;
  readonly sessions: readonly (ShownSession | EndedSession)[];
};

/** The link to the broker, as the database knows it. */
export type LinkView = {
  readonly isUp: boolean;
  /** The last packet heard from the broker; null before the first. */
  readonly heardAtMs: number | null;
  /** When the broker last came back without our session, so that wills may have been lost before; null when it never did. */
  readonly gapAtMs: number | null;
};

export type Presence = Known & {
  readonly status: 'online' | 'offline';
  /** The live ones only. */
  readonly sessions: readonly ShownSession[];
  readonly asOfMs: number | null;
  readonly isStale: boolean;
};

/** Without the sessions, where nobody asks for them. */
export type PresenceSummary = Omit<Presence, 'sessions'>;

export function summaryOf(known: Omit<Known, 'sessions'>, isOnline: boolean, link: LinkView): PresenceSummary {
  return {
    ...known,
    status: isOnline ? 'online' : 'offline', // I7
    asOfMs: link.heardAtMs,
    isStale: isStaleOf(known, link),
  };
}

export function presenceOf<Of extends Known>(known: Of, link: LinkView): Of & Presence {
  const sessions = known.sessions.filter((session): session is ShownSession => session.status !== 'ended');
  return {
    ...known,
    status: sessions.length > 0 ? 'online' : 'offline', // I7
    sessions,
    asOfMs: link.heardAtMs,
    isStale: isStaleOf(known, link),
  };
}

/** The link is down, or wills may have been lost since this user was last heard. */
function isStaleOf({ lastSeenAtMs }: Pick<Known, 'lastSeenAtMs'>, { isUp, gapAtMs }: LinkView): boolean {
  return !isUp || (gapAtMs !== null && (lastSeenAtMs === null || lastSeenAtMs < gapAtMs));
}
