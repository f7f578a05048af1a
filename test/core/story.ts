// The language of the core's tests: signals in one word, a user's story told in steps, time as a number.
// Every step of every story is held against the laws of `laws.ts`, and its input is frozen: `decide` may not change it.

import { type Decision, decide } from '../../src/core/decide.ts';
import { type Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import type { Rules } from '../../src/core/rules.ts';
import { connectionEpoch, type Event, type Session, type UserState, unknownUser } from '../../src/core/session.ts';
import type { Device, Signal } from '../../src/core/signal.ts';
import type { Ticket } from '../../src/core/ticket.ts';
import { freezeUser, obeyLaws } from './laws.ts';

/** The defaults of the settings. */
export const rules: Rules = { graceMs: 5_000, repeatWindowMs: 10_000, takeoverWindowMs: 1_000, leaseMs: 0 };
export const userId = UserId.parse('alice');
/** Any moment will do; a real one keeps epochs that are times plausible. */
export const startMs = 1_700_000_000_000;

type Extra = {
  readonly clientId?: string;
  readonly device?: object;
  readonly isRedelivery?: boolean;
  readonly ticket?: Ticket;
};

function heard(epoch: number | null, extra: Extra) {
  return { userId, epoch, clientId: null, device: null, isRedelivery: false, ticket: null, ...extra } as {
    userId: UserId;
    epoch: Epoch | null;
    clientId: null;
    device: null;
    isRedelivery: boolean;
    ticket: null;
  };
}

export function login(epoch: number | null, session = 'phone', extra: Extra = {}): Signal {
  return { kind: 'login', sessionId: SessionId.parse(session), ...heard(epoch, extra) };
}

/** Session null: the bare user id, which means every live session. */
export function will(epoch: number | null, session: string | null = 'phone', extra: Extra = {}): Signal {
  return { kind: 'will', sessionId: session === null ? null : SessionId.parse(session), ...heard(epoch, extra) };
}

export function logout(epoch: number | null, session: string | null = 'phone', extra: Extra = {}): Signal {
  return { kind: 'logout', sessionId: session === null ? null : SessionId.parse(session), ...heard(epoch, extra) };
}

export function kick(session: string | null = 'phone'): Signal {
  return { kind: 'kick', userId, sessionId: session === null ? null : SessionId.parse(session) };
}

type Wish = { readonly device?: Device | null; readonly leaseMs?: number; readonly keyId?: string };

export function prepare(session = 'phone', { device = {}, leaseMs, keyId = 'key' }: Wish = {}): Signal {
  return { kind: 'prepare', userId, sessionId: SessionId.parse(session), device, leaseMs: leaseMs ?? null, keyId };
}

export const lapse: Signal = { kind: 'lapse', userId };

/** What happens to one user, step by step. */
export class Story {
  nowMs = startMs;
  user: UserState = freezeUser(unknownUser(userId));
  readonly events: Event[] = [];
  readonly #rules: Rules;

  constructor(changes: Partial<Rules> = {}) {
    this.#rules = Object.freeze({ ...rules, ...changes });
  }

  /** Time passes (or, when negative, the clock is set back). */
  pass(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  hear(signal: Signal, mayLapse = true): Decision {
    const decision = decide(
      this.user,
      Object.freeze(signal),
      Object.freeze({ nowMs: this.nowMs, lapseUntilMs: mayLapse ? this.nowMs : null }),
      this.#rules,
    );
    freezeUser(decision.user);
    obeyLaws(this.user, decision, this.nowMs);
    this.user = decision.user;
    this.events.push(...decision.events);
    return decision;
  }

  /** Hears one signal after the other in the same moment, and tells what became of the last one: `outcome: event, event`. */
  tell(...signals: readonly Signal[]): string {
    const told = signals.map((signal) => {
      const { outcome, events } = this.hear(signal);
      return [outcome, ...events.map(tellEvent)].join(' ');
    });
    return told.at(-1) ?? '';
  }

  session(name = 'phone'): Session | undefined {
    return this.user.sessions.get(SessionId.parse(name));
  }

  /** `online@5`, `lost@5`, `ended@5`, `ended@null`, `absent`, and `online@null` while its client is not heard. */
  state(name = 'phone'): string {
    const session = this.session(name);
    return session === undefined ? 'absent' : `${session.status}@${connectionEpoch(session)}`;
  }

  ends(name = 'phone'): Event[] {
    return this.events.filter(({ type, sessionId }) => type === 'session.ended' && sessionId === name);
  }
}

/** `session.ended(phone@5 will)` */
function tellEvent({ type, sessionId, epoch, reason }: Event): string {
  return `${type}(${sessionId}@${epoch}${reason === null ? '' : ` ${reason}`})`;
}
