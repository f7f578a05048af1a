// The heart: what a signal does to one user. Pure: the same state, signal, moment and rules give the same decision.
// The numbered invariants are those of SPEC.md.

import { Draft } from './draft.ts';
import { defaultSessionId, type Epoch, type SessionId } from './ids.ts';
import { login, prepare } from './login.ts';
import { isWithin, type Rules } from './rules.ts';
import type { EndedSession, Event, LiveSession, OnlineSession, Session, UserState } from './session.ts';
import { connectionEpoch, isLive } from './session.ts';
import type { Leave, Signal } from './signal.ts';

export type Moment = {
  readonly nowMs: number;
  /** Deadlines before it may lapse; null while a birth that would save a session may be waiting unread at the broker (I6). */
  readonly lapseUntilMs: number | null;
};

export type Outcome = 'applied' | 'repeat' | 'stale';

export type Decision = {
  readonly outcome: Outcome;
  /** The same object when nothing changed. */
  readonly user: UserState;
  readonly events: readonly Event[];
};

export function decide(user: UserState, signal: Signal, moment: Moment, rules: Rules): Decision {
  const draft = new Draft(user, moment.nowMs);
  // An overdue deadline is decided before the signal that finds it (I6).
  if (moment.lapseUntilMs !== null) lapse(draft, Math.min(moment.lapseUntilMs, moment.nowMs));
  const outcome = settle(draft, signal, rules);
  return { outcome, user: draft.user, events: draft.events };
}

function settle(draft: Draft, signal: Signal, rules: Rules): Outcome {
  switch (signal.kind) {
    case 'login':
      return login(draft, signal, rules);
    case 'will':
    case 'logout':
      return leave(draft, signal, rules);
    case 'prepare':
      return prepare(draft, signal, rules);
    case 'kick':
      return kick(draft, signal.sessionId);
    case 'lapse':
      return 'applied';
  }
}

// ── will and logout ──────────────────────────────────────────────────────────────────────────────────────────────────

function leave(draft: Draft, signal: Leave, rules: Rules): Outcome {
  if (signal.isRedelivery) return 'repeat';
  if (!maySpeak(draft, signal)) return 'stale';
  const outcome =
    signal.epoch === null ? leaveWithoutEpoch(draft, signal, rules) : leaveAt(draft, signal, signal.epoch, rules);
  if (outcome === 'applied') draft.change({ lastSeenAtMs: draft.nowMs });
  return outcome;
}

/** A key that is retired speaks for the live sessions that were born with it, and for nothing else. */
function maySpeak(draft: Draft, { ticket, sessionId }: Leave): boolean {
  if (ticket === null || !ticket.isRetired) return true;
  const session = sessionId === null ? undefined : draft.sessions.get(sessionId);
  return session !== undefined && isLive(session) && session.keyId === ticket.keyId;
}

/** With an epoch the rules are exact. */
function leaveAt(draft: Draft, signal: Leave, epoch: Epoch, rules: Rules): Outcome {
  const sessionId = signal.sessionId ?? defaultSessionId;
  const session = draft.sessions.get(sessionId);
  if (session === undefined || !isLive(session)) {
    const isAnnounced = isAtMost(epoch, session?.epoch) || isAtMost(epoch, session?.forgottenEpoch);
    if (isAnnounced) return 'repeat'; // I1, I4
    endImplied(draft, sessionId, signal, session);
    return 'applied';
  }
  if (isOld(epoch, session)) return 'stale'; // I2
  // The will of a connection up to the one that a kick ended, and whose epoch it made forget (I1, I2).
  if (epoch !== session.epoch && isAtMost(epoch, session.forgottenEpoch)) return 'repeat';
  if (session.status === 'lost' && epoch === session.epoch && signal.kind === 'will') return 'repeat';
  lose(draft, { ...session, epoch, isUnheard: false }, signal, rules); // I5
  return 'applied';
}

/** The epoch of a session whose client is not heard yet is that of a connection which is over. */
function isOld(epoch: Epoch, session: LiveSession): boolean {
  return isAtMost(epoch, session.epoch) && (session.isUnheard || epoch !== session.epoch);
}

/** Without one they are the best that can be done for a bare id. */
function leaveWithoutEpoch(draft: Draft, signal: Leave, rules: Rules): Outcome {
  const targets = draft.live().filter(({ sessionId }) => signal.sessionId === null || sessionId === signal.sessionId);
  if (targets.length === 0) {
    if (isRepeatOfLastEnd(draft, signal.sessionId, rules)) return 'repeat';
    const sessionId = signal.sessionId ?? defaultSessionId;
    endImplied(draft, sessionId, signal, draft.sessions.get(sessionId));
    return 'applied';
  }
  if (signal.kind === 'will') {
    const owing = targets.find((session) => owesWill(session, draft.nowMs, rules));
    if (owing !== undefined) {
      draft.put({ ...owing, owedWills: owing.owedWills - 1 });
      return 'stale'; // I11: one will for one takeover
    }
  }
  const leaving = targets.filter((session) => session.status === 'online' || signal.kind === 'logout');
  for (const session of leaving) lose(draft, session, signal, rules);
  return leaving.length > 0 ? 'applied' : 'repeat';
}

function owesWill(session: LiveSession, nowMs: number, rules: Rules): session is OnlineSession {
  if (session.status !== 'online' || session.owedWills === 0) return false;
  return isWithin(session.takeoverAtMs, rules.takeoverWindowMs, nowMs);
}

/** I4: a leave that finds nothing live tells what is known already, when the end it repeats is recent or was a kick. */
function isRepeatOfLastEnd(draft: Draft, sessionId: SessionId | null, rules: Rules): boolean {
  const { isKicked, lastEndedAtMs } = draft.user;
  if (isKicked) return true;
  // The end of another device's session says nothing of a named one; an end of the whole user does.
  const ends = sessionId === null ? [lastEndedAtMs] : [endedAtMs(draft, sessionId), endedAtMs(draft, defaultSessionId)];
  return ends.some((endMs) => isWithin(endMs, rules.repeatWindowMs, draft.nowMs));
}

function endedAtMs(draft: Draft, sessionId: SessionId): number | null {
  const session = draft.sessions.get(sessionId);
  return session?.status === 'ended' ? session.endedAtMs : null;
}

function lose(draft: Draft, session: LiveSession, signal: Leave, rules: Rules): void {
  const seen = { ...session, lastSeenAtMs: draft.nowMs };
  if (signal.kind === 'logout' || rules.graceMs === 0) {
    draft.end(seen, signal.kind, connectionEpoch(seen));
    return;
  }
  const { sessionId, epoch, forgottenEpoch, clientId, device, keyId, startedAtMs, lastSeenAtMs, isUnheard } = seen;
  const login = { sessionId, epoch, forgottenEpoch, clientId, device, keyId, startedAtMs, lastSeenAtMs, isUnheard };
  draft.put({ ...login, status: 'lost', graceUntilMs: draft.nowMs + rules.graceMs });
}

/** I4: births are optional. A session that nobody announced ends all the same, at once. */
function endImplied(draft: Draft, sessionId: SessionId, signal: Leave, last: Session | undefined): void {
  const implied: EndedSession = {
    sessionId,
    status: 'ended',
    epoch: last?.epoch ?? null,
    forgottenEpoch: signal.epoch === null ? (last?.forgottenEpoch ?? null) : null,
    clientId: signal.clientId ?? last?.clientId ?? null,
    device: signal.device ?? last?.device ?? null,
    keyId: signal.ticket?.keyId ?? null,
    startedAtMs: draft.nowMs,
    lastSeenAtMs: draft.nowMs,
    isUnheard: false,
    endedAtMs: draft.nowMs,
    reason: signal.kind,
  };
  draft.end(implied, signal.kind, signal.epoch);
}

// ── kick and deadlines ───────────────────────────────────────────────────────────────────────────────────────────────

function kick(draft: Draft, sessionId: SessionId | null): Outcome {
  const named = sessionId === null ? undefined : draft.sessions.get(sessionId);
  const targets: Session[] = sessionId === null ? draft.live() : named === undefined ? [] : [named];
  for (const session of targets) {
    const ended = isLive(session) ? draft.end(session, 'kicked', connectionEpoch(session)) : session;
    // A device whose clock went back is let in again (I3); its epoch is kept for the wills that it still fences (I1).
    if (ended.epoch !== null)
      draft.put({ ...ended, epoch: null, forgottenEpoch: later(ended.epoch, ended.forgottenEpoch) });
  }
  // Who sends no births has nothing that a kick can end, and would never be heard again.
  if (targets.some(isLive)) draft.change({ isKicked: true });
  return 'applied';
}

function later(epoch: Epoch, other: Epoch | null): Epoch {
  return other !== null && other > epoch ? other : epoch;
}

function lapse(draft: Draft, untilMs: number): void {
  const due = draft.live().filter((session) => isOver(deadlineMs(session), untilMs));
  due.sort((a, b) => (deadlineMs(a) ?? 0) - (deadlineMs(b) ?? 0));
  for (const session of due) {
    draft.end(session, session.status === 'lost' ? 'will' : 'expired', connectionEpoch(session));
  }
}

/** When the grace of a lost session, or the lease of an online one, is over. A deadline equal to now is kept. */
export function deadlineMs(session: LiveSession): number | null {
  return session.status === 'lost' ? session.graceUntilMs : session.leaseUntilMs;
}

function isOver(deadline: number | null, untilMs: number): boolean {
  return deadline !== null && deadline < untilMs;
}

function isAtMost(epoch: Epoch, bound: Epoch | null | undefined): boolean {
  return bound !== null && bound !== undefined && epoch <= bound;
}
