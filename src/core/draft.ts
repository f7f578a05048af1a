// The consequences that every decision shares: a session starts, changes or ends, and what is announced of it.
// A draft is the one mutable value of the core; it lives no longer than the call to `decide` that made it.

import type { Epoch, SessionId } from './ids.ts';
import {
  connectionEpoch,
  type EndedSession,
  type EndReason,
  type Event,
  type EventType,
  isLive,
  type LiveSession,
  type OnlineSession,
  type Session,
  type UserState,
} from './session.ts';

export class Draft {
  readonly nowMs: number;
  readonly events: Event[] = [];
  #user: UserState;
  /** This draft's own copy, once a session changed. */
  #sessions: Map<SessionId, Session> | null = null;

  constructor(user: UserState, nowMs: number) {
    this.#user = user;
    this.nowMs = nowMs;
  }

  get user(): UserState {
    return this.#user;
  }

  get sessions(): ReadonlyMap<SessionId, Session> {
    return this.#user.sessions;
  }

  live(): LiveSession[] {
    return [...this.sessions.values()].filter(isLive);
  }

  put(session: Session): void {
    if (this.#sessions === null) {
      this.#sessions = new Map(this.#user.sessions);
      this.#user = { ...this.#user, sessions: this.#sessions };
    }
    this.#sessions.set(session.sessionId, session);
  }

  change(changes: Partial<Omit<UserState, 'userId' | 'sessions'>>): void {
    this.#user = { ...this.#user, ...changes };
  }

  start(session: OnlineSession): void {
    const wasOffline = this.live().length === 0;
    this.put(session);
    const epoch = connectionEpoch(session);
    const atMs = this.#announce('session.started', session, epoch, null);
    if (!wasOffline) return;
    this.#announce('user.online', session, epoch, null);
    this.change({ sinceMs: atMs });
  }

  /** Ends a live session, or an implied one; `epoch` is that of the connection that ended, null when it had none. */
  end(session: Session, reason: EndReason, epoch: Epoch | null): EndedSession {
    const { sessionId, forgottenEpoch, clientId, device, keyId, startedAtMs, lastSeenAtMs, isUnheard } = session;
    const login = { sessionId, forgottenEpoch, clientId, device, keyId, startedAtMs, lastSeenAtMs, isUnheard };
    const ended = {
      ...login,
      status: 'ended',
      epoch: epoch ?? session.epoch,
      endedAtMs: this.#atMs(),
      reason,
    } as const;
    this.put(ended);
    const atMs = this.#announce('session.ended', ended, epoch, reason);
    this.change({ lastEndedAtMs: atMs });
    if (this.live().length > 0) return ended;
    this.#announce('user.offline', ended, epoch, reason);
    this.change({ sinceMs: atMs });
    return ended;
  }

  /** The time of this decision, never before that of the user's last event. */
  #atMs(): number {
    return Math.max(this.nowMs, this.#user.lastEventAtMs ?? 0);
  }

  #announce(type: EventType, session: Session, epoch: Epoch | null, reason: EndReason | null): number {
    const { userId, sequence } = this.#user;
    const { sessionId, device } = session;
    const atMs = this.#atMs();
    this.events.push({ type, userId, sequence: sequence + 1, sessionId, epoch, reason, device, atMs });
    this.change({ sequence: sequence + 1, lastEventAtMs: atMs });
    return atMs;
  }
}
