// The laws that hold for every decision, whatever is decided.

import { expect } from 'vitest';
import type { Decision } from '../../src/core/decide.ts';
import { presenceOf } from '../../src/core/presence.ts';
import { type Event, isLive, type UserState } from '../../src/core/session.ts';

/** Makes the state immutable in fact, its map of sessions included. */
export function freezeUser(user: UserState): UserState {
  if (Object.isFrozen(user)) return user;
  for (const session of user.sessions.values()) Object.freeze(session);
  const refuse = (): never => {
    throw new Error('a decision changed the state it was given');
  };
  Object.assign(user.sessions, { set: refuse, delete: refuse, clear: refuse });
  return Object.freeze(user);
}

/** I7, I8 and the honesty of a decision, held against every step of every story. */
export function obeyLaws(before: UserState, decision: Decision, nowMs: number): void {
  const { user, events } = decision;
  expectThat(user.sequence === before.sequence + events.length, 'the sequence grows by the number of events');
  let atMs = before.lastEventAtMs ?? 0;
  for (const [index, event] of events.entries()) {
    expectThat(event.sequence === before.sequence + index + 1, 'sequences are 1, 2, 3 … without gaps');
    expectThat(
      event.atMs >= atMs && event.atMs >= nowMs,
      'the time of an event is that of its decision and never decreases',
    );
    expectThat((event.reason !== null) === isEnd(event), 'ends have a reason, beginnings have none');
    atMs = event.atMs;
  }
  expectThat(events.length === 0 || user.lastEventAtMs === atMs, 'the time of the last event is kept');
  expectThat(followEvents(liveIds(before), events) === tell(liveIds(user)), 'the events tell which sessions are live');
  const presence = presenceOf({ ...user, sessions: [...user.sessions.values()] }, upLink);
  expectThat((presence.status === 'online') === liveIds(user).size > 0, 'presence is online while a session is live');
  if (user === before) expectThat(events.length === 0, 'a state that stays says that nothing happened');
}

const upLink = { isUp: true, heardAtMs: 0, gapAtMs: null } as const;

/** Replays the events on a set of live sessions, and returns the set they lead to. */
function followEvents(live: Set<string>, events: readonly Event[]): string {
  for (let next = 0; next < events.length; next += 1) {
    const event = events[next] as Event;
    const { type, sessionId } = event;
    const isStart = type === 'session.started';
    expectThat(isStart || type === 'session.ended', `${type} comes right after what caused it`);
    expectThat(!isStart || !live.has(sessionId), 'a session starts when it is not live');
    const wereLive = live.size;
    if (isStart) live.add(sessionId);
    else live.delete(sessionId);
    if (isStart ? wereLive > 0 : live.size > 0) continue;
    next += 1;
    const carried = { ...event, type: isStart ? 'user.online' : 'user.offline', sequence: event.sequence + 1 };
    expect(events[next], 'the event of the user carries the fields and the reason of its cause').toEqual(carried);
  }
  return tell(live);
}

function liveIds(user: UserState): Set<string> {
  return new Set([...user.sessions.values()].filter(isLive).map(({ sessionId }) => sessionId));
}

function isEnd({ type }: Event): boolean {
  return type === 'session.ended' || type === 'user.offline';
}

function tell(ids: ReadonlySet<string>): string {
  return [...ids].sort().join();
}

function expectThat(holds: boolean, law: string): void {
  if (!holds) throw new Error(`broken law: ${law}`);
}
