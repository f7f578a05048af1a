// Lives of users as they come about by the real decision and the real commit: births, signs of life, wills, goodbyes, kicks, prepared sessions
// and deadlines, at random, while a clock of their own goes on.

import type pg from 'pg';
import { decide } from '../../src/core/decide.ts';
import { ClientId, Epoch, SessionId, type UserId } from '../../src/core/ids.ts';
import type { Signal } from '../../src/core/signal.ts';
import { commit, type Entry } from '../../src/store/commit.ts';
import type { Chance } from './storm.ts';

const rules = { graceMs: 50, repeatWindowMs: 20, takeoverWindowMs: 10, leaseMs: 0 };
const sessionIds = ['phone', 'tablet', 'default'].map((id) => SessionId.parse(id));

/** What happens next to this user. */
export function anySignal(chance: Chance, userId: UserId): Signal {
  const sessionId = chance.pick(sessionIds);
  const heard = {
    userId,
    epoch: chance.isIn(0.8) ? Epoch.parse(chance.whole(12)) : null,
    clientId: chance.isIn(0.5) ? ClientId.parse(`client-${chance.whole(3)}`) : null,
    device: chance.isIn(0.5) ? { model: chance.whole(3) } : null,
    isRedelivery: false,
    ticket: null,
  };
  const kind = chance.pick(['login', 'login', 'login', 'will', 'will', 'logout', 'kick', 'prepare', 'lapse'] as const);
  switch (kind) {
    case 'login':
      return { kind, ...heard, sessionId };
    case 'will':
    case 'logout':
      return { kind, ...heard, sessionId: chance.isIn(0.8) ? sessionId : null };
    case 'kick':
      return { kind, userId, sessionId: chance.isIn(0.7) ? sessionId : null };
    case 'prepare':
      return { kind, userId, sessionId, device: heard.device, leaseMs: chance.pick([null, 30]), keyId: 'key' };
    case 'lapse':
      return { kind, userId };
  }
}

/** At the same moment, in this order, in one commit. */
export async function live(pool: pg.Pool, signals: readonly Signal[], nowMs: number): Promise<void> {
  const entries = signals.map(
    (signal): Entry => ({ signal, nowMs, lapseUntilMs: nowMs, receipt: null, mayBeCommitted: false }),
  );
  await commit(pool, entries, (user, signal, moment) => decide(user, signal, moment, rules), null);
}
