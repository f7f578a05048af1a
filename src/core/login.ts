// What opens a session: a login, which also moves it on to a newer connection, or is a sign of life; and a backend that prepares one, and
// lets it live before its client is heard.

import type { Outcome } from './decide.ts';
import type { Draft } from './draft.ts';
import type { Epoch, SessionId } from './ids.ts';
import { isWithin, type Rules } from './rules.ts';
import { connectionEpoch, type EndReason, isLive, type OnlineSession, type Session } from './session.ts';
import type { Login, Prepare } from './signal.ts';

/** A person has a handful of devices; who has more than this is a program that makes up session ids. */
export const liveSessionsMax = 1_000;
/** A client that takes itself over again and again is counted up to here. */
const owedWillsMax = 100;

export function login(draft: Draft, signal: Login, rules: Rules): Outcome {
  if (signal.isRedelivery) return 'repeat';
  const session = draft.sessions.get(signal.sessionId);
  // Without an epoch a login is the next connection of its session (I3).
  const epoch = signal.epoch ?? nextEpoch(session);
  const last = session?.epoch ?? null;
  if (last !== null && epoch < last) return 'stale';
  // The birth of the connection that a kick ended, heard again (I1, I3).
  if (epoch === session?.forgottenEpoch) return 'repeat';
  const isRepeat = epoch === last;
  // Of a connection that is over.
  if (isRepeat && (session?.status !== 'online' || session.isUnheard)) return 'repeat';
  draft.change({ isKicked: false, lastSeenAtMs: draft.nowMs });
  const keyId = signal.ticket?.keyId ?? null;
  const leaseUntilMs = leaseUntil(draft.nowMs, signal.ticket?.leaseMs ?? null, rules);
  if (isRepeat && session?.status === 'online') {
    isAlive(draft, session, { keyId, leaseUntilMs });
    return 'repeat';
  }
  const owed = owedAfter(session, draft.nowMs, rules);
  open(draft, session, { ...signal, epoch, isUnheard: false, keyId, leaseUntilMs, ...owed });
  return 'applied';
}

/**
 * The session is there, though nothing was heard of its client. No epoch moves, so that the client's own birth and will count, whatever it
 * counts from, and however often it was prepared in vain. No connection is taken over before its client's birth: until then no will is stale.
 */
export function prepare(draft: Draft, signal: Prepare, rules: Rules): Outcome {
  const session = draft.sessions.get(signal.sessionId);
  const { keyId } = signal;
  const leaseUntilMs = leaseUntil(draft.nowMs, signal.leaseMs, rules);
  draft.change({ isKicked: false, lastSeenAtMs: draft.nowMs });
  if (session?.status === 'online') {
    isAlive(draft, session, { keyId, leaseUntilMs });
    return 'repeat';
  }
  const epoch = session?.epoch ?? null;
  const owed = { takeoverAtMs: null, owedWills: isSilentEnd(session) ? 1 : 0 };
  open(draft, session, { ...signal, clientId: null, epoch, isUnheard: true, keyId, leaseUntilMs, ...owed });
  return 'applied';
}

/** A sign of life. The connection, and so its will, is the one that it was, and so is the key that speaks for it. */
function isAlive(
  draft: Draft,
  session: OnlineSession,
  { keyId, leaseUntilMs }: Pick<OnlineSession, 'keyId' | 'leaseUntilMs'>,
): void {
  draft.put({ ...session, keyId: session.keyId ?? keyId, lastSeenAtMs: draft.nowMs, leaseUntilMs });
}

type Opening = Pick<
  OnlineSession,
  'clientId' | 'device' | 'epoch' | 'isUnheard' | 'keyId' | 'leaseUntilMs' | 'takeoverAtMs' | 'owedWills'
> & { readonly sessionId: SessionId };

function open(draft: Draft, session: Session | undefined, opening: Opening): void {
  const { epoch, isUnheard } = opening;
  const forgottenEpoch = session?.forgottenEpoch ?? null;
  const online: OnlineSession = {
    sessionId: opening.sessionId,
    status: 'online',
    epoch,
    forgottenEpoch: isPast(forgottenEpoch, epoch) ? null : forgottenEpoch,
    clientId: opening.clientId ?? session?.clientId ?? null,
    device: opening.device ?? session?.device ?? null,
    keyId: opening.keyId,
    startedAtMs: draft.nowMs,
    lastSeenAtMs: draft.nowMs,
    isUnheard,
    leaseUntilMs: opening.leaseUntilMs,
    takeoverAtMs: opening.takeoverAtMs,
    owedWills: opening.owedWills,
  };
  // A live session lives on under its newer connection (I2, I6).
  if (session !== undefined && isLive(session)) draft.put({ ...online, startedAtMs: session.startedAtMs });
  else start(draft, online);
}

/** A user has so many live sessions at most: one more replaces the one that was not heard of for longest. */
function start(draft: Draft, session: OnlineSession): void {
  const live = draft.live();
  draft.start(session);
  if (live.length < liveSessionsMax) return;
  const oldest = live.reduce((a, b) => (b.lastSeenAtMs < a.lastSeenAtMs ? b : a));
  draft.end(oldest, 'replaced', connectionEpoch(oldest));
}

/** A lease that a ticket or a backend names stands in for that of the settings. */
function leaseUntil(nowMs: number, namedMs: number | null, rules: Rules): number | null {
  const leaseMs = namedMs ?? rules.leaseMs;
  return leaseMs > 0 ? nowMs + leaseMs : null;
}

/**
 * I11: a login takes over the connection before it, whose will may still be owed: that of an online session, or of one that was ended
 * without a word from its client. The will of a lost session has been heard.
 */
function owedAfter(
  session: Session | undefined,
  nowMs: number,
  rules: Rules,
): Pick<OnlineSession, 'takeoverAtMs' | 'owedWills'> {
  const owedWills = Math.min(owedBy(session, nowMs, rules), owedWillsMax);
  return { takeoverAtMs: owedWills === 0 ? null : nowMs, owedWills };
}

function owedBy(session: Session | undefined, nowMs: number, rules: Rules): number {
  if (session?.status !== 'online') return isSilentEnd(session) ? 1 : 0;
  // It has no connection yet; there may be one from before it was prepared.
  if (session.isUnheard) return session.owedWills;
  return 1 + (isWithin(session.takeoverAtMs, rules.takeoverWindowMs, nowMs) ? session.owedWills : 0);
}

const silentReasons: ReadonlySet<EndReason> = new Set(['kicked', 'expired', 'replaced']);

/** While it had a connection, and without a word from it. */
function isSilentEnd(session: Session | undefined): boolean {
  return session?.status === 'ended' && !session.isUnheard && silentReasons.has(session.reason);
}

/** The highest that is known of a session, one that a kick made forget included. */
function lastEpoch(session: Session | undefined): number | null {
  const known = [session?.epoch, session?.forgottenEpoch].filter((epoch) => epoch !== null && epoch !== undefined);
  return known.length === 0 ? null : Math.max(...known);
}

function nextEpoch(session: Session | undefined): Epoch {
  return ((lastEpoch(session) ?? 0) + 1) as Epoch;
}

function isPast(mark: Epoch | null, epoch: Epoch | null): boolean {
  return mark !== null && epoch !== null && epoch >= mark;
}
