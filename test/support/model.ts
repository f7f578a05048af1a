// A second opinion on what must be announced: the epoch rules, restated naively from the contract and sharing no code with `decide`.
// It covers births, wills and goodbyes that carry an epoch, with or without grace; no leases, no kicks, no bare ids,
// and no user with more live sessions than he may have.

export type ModelMessage = {
  readonly kind: 'login' | 'will' | 'logout';
  readonly userId: string;
  readonly sessionId: string;
  readonly epoch: number;
  /** When the message is decided. */
  readonly atMs: number;
};

export type ModelEvent = {
  readonly type: 'session.started' | 'session.ended' | 'user.online' | 'user.offline';
  readonly userId: string;
  readonly sequence: number;
  readonly sessionId: string;
  readonly epoch: number;
  readonly reason: 'will' | 'logout' | null;
};

type ModelSession = { newest: number; status: 'live' | 'lost' | 'over'; graceEndsMs: number };
type ModelUser = { sessions: Map<string, ModelSession>; events: ModelEvent[] };

/**
 * The events of each user, for messages in the order in which they are decided; at `untilMs` the deadlines lapse a last time.
 * Sessions of one user whose deadlines are equal end in the order in which they were first heard.
 */
export function expectedEvents(
  messages: readonly ModelMessage[],
  graceMs: number,
  untilMs: number,
): ReadonlyMap<string, readonly ModelEvent[]> {
  const users = new Map<string, ModelUser>();
  for (const message of messages) {
    const user = users.get(message.userId) ?? { sessions: new Map<string, ModelSession>(), events: [] };
    users.set(message.userId, user);
    endOverdue(user, message.userId, message.atMs);
    apply(user, message, graceMs);
  }
  for (const [userId, user] of users) endOverdue(user, userId, untilMs);
  return new Map([...users].map(([userId, { events }]) => [userId, events]));
}

function apply(user: ModelUser, { kind, userId, sessionId, epoch, atMs }: ModelMessage, graceMs: number): void {
  const session = user.sessions.get(sessionId) ?? { newest: -1, status: 'over', graceEndsMs: 0 };
  user.sessions.set(sessionId, session);
  const isHeardAgain = epoch === session.newest;
  if (epoch < session.newest) return; // of an older connection
  session.newest = epoch;
  if (kind === 'login') {
    if (isHeardAgain) return;
    const isStart = session.status === 'over';
    const isFirst = countLive(user) === 0;
    session.status = 'live';
    if (isStart)
      announce(user, userId, sessionId, epoch, null, ['session.started', ...(isFirst ? ['user.online' as const] : [])]);
    return;
  }
  if (isHeardAgain && session.status === 'over') return; // announced already
  if (isHeardAgain && session.status === 'lost' && kind === 'will') return;
  if (kind === 'will' && graceMs > 0 && session.status !== 'over') {
    session.status = 'lost';
    session.graceEndsMs = atMs + graceMs;
    return;
  }
  end(user, userId, sessionId, session, kind);
}

function endOverdue(user: ModelUser, userId: string, nowMs: number): void {
  const overdue = [...user.sessions].filter(([, { status, graceEndsMs }]) => status === 'lost' && graceEndsMs < nowMs);
  overdue.sort(([, a], [, b]) => a.graceEndsMs - b.graceEndsMs);
  for (const [sessionId, session] of overdue) end(user, userId, sessionId, session, 'will');
}

function end(
  user: ModelUser,
  userId: string,
  sessionId: string,
  session: ModelSession,
  reason: 'will' | 'logout',
): void {
  session.status = 'over';
  const isLast = countLive(user) === 0;
  announce(user, userId, sessionId, session.newest, reason, [
    'session.ended',
    ...(isLast ? ['user.offline' as const] : []),
  ]);
}

function announce(
  user: ModelUser,
  userId: string,
  sessionId: string,
  epoch: number,
  reason: ModelEvent['reason'],
  types: readonly ModelEvent['type'][],
): void {
  for (const type of types) {
    user.events.push({ type, userId, sequence: user.events.length + 1, sessionId, epoch, reason });
  }
}

function countLive(user: ModelUser): number {
  return [...user.sessions.values()].filter(({ status }) => status !== 'over').length;
}
