// What a login does: it opens a session, moves it on to a newer connection, or is a sign of life.

import type { Outcome } from './decide.ts';
import type { Draft } from './draft.ts';
import type { Epoch } from './ids.ts';
import { isWithin, type Rules } from './rules.ts';
import { type EndReason, isLive, type OnlineSession, type Session } from './session.ts';
import type { Login } from './signal.ts';

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
  if (isRepeat && session?.status !== 'online') return 'repeat';
  draft.change({ isKicked: false, lastSeenAtMs: draft.nowMs });
  const leaseUntilMs = rules.leaseMs > 0 ? draft.nowMs + rules.leaseMs : null;
  if (isRepeat && session?.status === 'online') {
    draft.put({ ...session, lastSeenAtMs: draft.nowMs, leaseUntilMs });
    return 'repeat';
  }
  const online: OnlineSession = {
    sessionId: signal.sessionId,
    status: 'online',
    epoch,
    forgottenEpoch: isPast(session?.forgottenEpoch ?? null, epoch) ? null : (session?.forgottenEpoch ?? null),
    clientId: signal.clientId ?? session?.clientId ?? null,
    device: signal.device ?? session?.device ?? null,
    startedAtMs: draft.nowMs,
    lastSeenAtMs: draft.nowMs,
    leaseUntilMs,
    ...owedAfter(session, draft.nowMs, rules),
  };
  // A live session lives on under its newer connection (I2, I6).
  if (session !== undefined && isLive(session)) draft.put({ ...online, startedAtMs: session.startedAtMs });
  else start(draft, online);
  return 'applied';
}

/** A user has so many live sessions at most: one more replaces the one that was not heard of for longest. */
function start(draft: Draft, session: OnlineSession): void {
  const live = draft.live();
  draft.start(session);
  if (live.length < liveSessionsMax) return;
  const oldest = live.reduce((a, b) => (b.lastSeenAtMs < a.lastSeenAtMs ? b : a));
  draft.end(oldest, 'replaced', oldest.epoch);
}

const silentReasons: ReadonlySet<EndReason> = new Set(['kicked', 'expired', 'replaced']);

/**
 * I11: a login takes over the connection before it, whose will may still be owed: that of an online session, or of one that was ended
 * without a word from its client. The will of a lost session has been heard.
 */
function owedAfter(
  session: Session | undefined,
  nowMs: number,
  rules: Rules,
): Pick<OnlineSession, 'takeoverAtMs' | 'owedWills'> {
  const isOnline = session?.status === 'online';
  const isSilentEnd = session?.status === 'ended' && silentReasons.has(session.reason);
  if (!isOnline && !isSilentEnd) return { takeoverAtMs: null, owedWills: 0 };
  const stillOwed = isOnline && isWithin(session.takeoverAtMs, rules.takeoverWindowMs, nowMs) ? session.owedWills : 0;
  return { takeoverAtMs: nowMs, owedWills: Math.min(stillOwed + 1, owedWillsMax) };
}

function nextEpoch(session: Session | undefined): Epoch {
  return (Math.max(session?.epoch ?? 0, session?.forgottenEpoch ?? 0) + 1) as Epoch;
}

function isPast(mark: Epoch | null, epoch: Epoch): boolean {
  return mark !== null && epoch >= mark;
}
