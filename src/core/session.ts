// One device login of one user, and everything that can become of it.
//
//         login, prepare                   will (grace > 0)
//   absent ───────────────► online ──────────────────────────► lost
//      │                    ▲  │ ▲                             │ │ │
//      │        newer login │  │ └── newer login, prepare ───────┘ │ │ newer will: lost again,
//      │                    │  │                                 │ └─► at the newer epoch
//      │ will, logout       │  │ logout, kick, lease elapsed,    │
//      │ (an implied        │  │ will (grace 0)                  │ grace elapsed, logout, kick
//      │  session)          │  ▼                                 ▼
//      └──────────────────► ended ◄──────────────────────────────┘
//
// An epoch orders the connections of a session. Whatever is older than the epoch of a session is stale or a repeat. A preparation is no
// connection: it moves no epoch, and until its client is heard, all that is newer than the last connection heard is this client's first word.

import type { ClientId, Epoch, SessionId, UserId } from './ids.ts';
import type { Device } from './signal.ts';

export const endReasons = [
  'will',
  'logout',
  'kicked',
  'replaced',
  'expired',
  'broker-disconnected',
  'broker-lost',
] as const;
export type EndReason = (typeof endReasons)[number];

type Login = {
  readonly sessionId: SessionId;
  /** The epoch that a kick made forget: wills up to it belong to the connection that the kick ended, and are repeats. */
  readonly forgottenEpoch: Epoch | null;
  readonly clientId: ClientId | null;
  readonly device: Device | null;
  /** Of the key that signed the ticket of its birth; null where it came with none. */
  readonly keyId: string | null;
  readonly startedAtMs: number;
  readonly lastSeenAtMs: number;
  /** Of the newest connection that was heard; null when none is known: none came with one, a kick made it forget, or none was heard. */
  readonly epoch: Epoch | null;
  /** A backend prepared it, and its client was not heard since: `epoch` and `forgottenEpoch` are of connections that are over. */
  readonly isUnheard: boolean;
};

export type OnlineSession = Login & {
  readonly status: 'online';
  readonly leaseUntilMs: number | null;
  /** When a login last took over a connection whose will may still be owed (I11); null when none did. */
  readonly takeoverAtMs: number | null;
  /** How many such wills may still come. */
  readonly owedWills: number;
};
export type LostSession = Login & { readonly status: 'lost'; readonly graceUntilMs: number };
export type EndedSession = Login & {
  readonly status: 'ended';
  readonly endedAtMs: number;
  readonly reason: EndReason;
};
export type LiveSession = OnlineSession | LostSession;
export type Session = LiveSession | EndedSession;

/** Everything that decisions about one user rest on: the sessions that are live, and those that the signals name. */
export type UserState = {
  readonly userId: UserId;
  /** Of the user's newest event; 0 when there is none. */
  readonly sequence: number;
  /** A kick ended a session, with no login since. */
  readonly isKicked: boolean;
  /** When the user last came online or went offline. */
  readonly sinceMs: number | null;
  readonly lastSeenAtMs: number | null;
  readonly lastEndedAtMs: number | null;
  readonly lastEventAtMs: number | null;
  readonly sessions: ReadonlyMap<SessionId, Session>;
};

export const eventTypes = ['session.started', 'session.ended', 'user.online', 'user.offline'] as const;
export type EventType = (typeof eventTypes)[number];

/** A fact, once committed; its position in the log is given by the commit. */
export type Event = {
  readonly type: EventType;
  readonly userId: UserId;
  /** 1, 2, 3 … among the events of this user, without gaps. */
  readonly sequence: number;
  readonly sessionId: SessionId;
  readonly epoch: Epoch | null;
  readonly reason: EndReason | null;
  readonly device: Device | null;
  readonly atMs: number;
};

export function isLive(session: Session): session is LiveSession {
  return session.status !== 'ended';
}

/** Of its own connection, for all to see: null while it has none that was heard. */
export function connectionEpoch({ epoch, isUnheard }: Pick<Session, 'epoch' | 'isUnheard'>): Epoch | null {
  return isUnheard ? null : epoch;
}

/** A user that was never heard of. */
export function unknownUser(userId: UserId): UserState {
  return {
    userId,
    sequence: 0,
    isKicked: false,
    sinceMs: null,
    lastSeenAtMs: null,
    lastEndedAtMs: null,
    lastEventAtMs: null,
    sessions: new Map(),
  };
}
