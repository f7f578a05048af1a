import { describe, expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { liveSessionsMax } from '../../src/core/login.ts';
import type { Rules } from '../../src/core/rules.ts';
import { isLive, type UserState, unknownUser } from '../../src/core/session.ts';
import type { Signal } from '../../src/core/signal.ts';
import { freezeUser } from './laws.ts';
import { kick, lapse, login, logout, rules, Story, startMs, userId, will } from './story.ts';

describe('I7: a user is online while any session is live', () => {
  test('I7: the first session to become live brings the user online, the last one to end takes him offline', () => {
    const story = new Story({ graceMs: 0 });
    expect(story.tell(login(1, 'phone'))).toBe('applied session.started(phone@1) user.online(phone@1)');
    expect(story.tell(login(2, 'tablet'))).toBe('applied session.started(tablet@2)');
    expect(story.tell(will(1, 'phone'))).toBe('applied session.ended(phone@1 will)');
    expect(story.tell(logout(2, 'tablet'))).toBe(
      'applied session.ended(tablet@2 logout) user.offline(tablet@2 logout)',
    );
  });

  test('I7: a lost session still counts as live', () => {
    const story = new Story();
    story.tell(login(1, 'phone'), login(1, 'tablet'), will(1, 'phone'));
    expect(story.tell(logout(1, 'tablet'))).toBe('applied session.ended(tablet@1 logout)');
    expect(story.pass(5_001).tell(lapse)).toContain('user.offline(phone@1 will)');
  });

  test('I7: two devices in every order of their births and wills: the user goes offline with the last, once', () => {
    const messages = [login(1, 'phone'), will(1, 'phone'), login(1, 'tablet'), will(1, 'tablet')];
    for (const order of permutations(messages)) {
      const story = new Story({ graceMs: 0 });
      story.tell(...order);
      expect([story.state('phone'), story.state('tablet')]).toEqual(['ended@1', 'ended@1']);
      expect([story.ends('phone'), story.ends('tablet')].map((ends) => ends.length)).toEqual([1, 1]);
      expect(story.events.at(-1)?.type).toBe('user.offline');
    }
  });

  test('I7: user.online and user.offline carry the fields of the session that caused them', () => {
    const story = new Story();
    const device = { os: 'ios' };
    story.tell(login(5, 'phone', { device, clientId: 'c-1' }), will(5));
    story.pass(5_001).tell(lapse);
    const fields = { userId: 'alice', sessionId: 'phone', epoch: 5, device };
    expect(story.events).toEqual([
      { ...fields, type: 'session.started', sequence: 1, reason: null, atMs: startMs },
      { ...fields, type: 'user.online', sequence: 2, reason: null, atMs: startMs },
      { ...fields, type: 'session.ended', sequence: 3, reason: 'will', atMs: startMs + 5_001 },
      { ...fields, type: 'user.offline', sequence: 4, reason: 'will', atMs: startMs + 5_001 },
    ]);
  });

  test('I7: a kick of all sessions ends each, and announces the user offline once', () => {
    const story = new Story();
    story.tell(login(1, 'phone'), login(2, 'tablet'), will(2, 'tablet'), login(3, 'watch'), logout(3, 'watch'));
    expect(story.tell(kick(null))).toBe(
      'applied session.ended(phone@1 kicked) session.ended(tablet@2 kicked) user.offline(tablet@2 kicked)',
    );
    expect(story.tell(login(1, 'phone'), login(2, 'tablet'), will(2, 'tablet'), will(1, 'phone'))).toBe('repeat');
  });

  test('I7: since tells when the user last came online or went offline', () => {
    const story = new Story();
    expect(story.user.sinceMs).toBeNull();
    story.tell(login(1, 'phone'));
    story.pass(1_000).tell(login(1, 'tablet'), logout(1, 'phone'));
    expect(story.user.sinceMs).toBe(startMs);
    story.pass(1_000).tell(logout(1, 'tablet'));
    expect(story.user.sinceMs).toBe(startMs + 2_000);
  });

  test('a user is heard by births, signs of life and wills that count, not by repeats, stale wills or kicks', () => {
    const story = new Story({ takeoverWindowMs: 0 });
    for (const signal of [
      login(4),
      login(5),
      login(5),
      will(5),
      login(6),
      will(null),
      login(8),
      logout(null),
      will(9),
    ]) {
      story.pass(20).hear(signal);
      expect([story.user.lastSeenAtMs, story.session()?.lastSeenAtMs]).toEqual([story.nowMs, story.nowMs]);
    }
    const { lastSeenAtMs } = story.user;
    story.pass(20).tell(will(9), login(9), login(1), will(1), will(null), kick(), lapse);
    expect(story.user.lastSeenAtMs).toBe(lastSeenAtMs);
  });

  test('what a device said of itself is kept until it says something else', () => {
    const story = new Story();
    story.tell(login(1, 'phone', { device: { os: 'ios' }, clientId: 'c-1' }), login(2, 'phone'));
    expect(story.session()).toMatchObject({ device: { os: 'ios' }, clientId: 'c-1' });
    story.tell(login(3, 'phone', { device: { os: 'android' }, clientId: 'c-2' }), logout(3));
    const android = { device: { os: 'android' }, clientId: 'c-2', status: 'ended' };
    expect(story.session()).toMatchObject(android);
    story.tell(will(4));
    expect(story.session()).toMatchObject({ ...android, epoch: 4 });
    expect(story.events.at(-1)).toMatchObject({ type: 'user.offline', device: { os: 'android' } });
    story.tell(will(5, 'phone', { device: { os: 'linux' }, clientId: 'c-3' }));
    expect(story.session()).toMatchObject({ device: { os: 'linux' }, clientId: 'c-3', epoch: 5 });
  });
});

describe('I7: a user has 1,000 live sessions at most', () => {
  test('I7: one more replaces the session that was not heard of for longest, and the user stays online', () => {
    const story = crowded();
    const { sinceMs } = story.user;
    expect(story.tell(login(7, 'one more'))).toBe(
      'applied session.started(one more@7) session.ended(device-0@1 replaced)',
    );
    const states = ['device-0', 'device-1', 'one more'].map((name) => story.state(name));
    expect(states).toEqual(['ended@1', 'online@1', 'online@7']);
    expect(story.session('device-0')).toMatchObject({ reason: 'replaced', endedAtMs: story.nowMs });
    expect(story.user.sinceMs).toBe(sinceMs);
    expect(story.pass(1).tell(login(1, 'another'))).toContain('session.ended(device-1@1 replaced)');
    expect(liveCount(story)).toBe(liveSessionsMax);
  });

  test('I7: the thousandth live session replaces nobody; sessions that have ended do not count', () => {
    expect(liveSessionsMax).toBe(1_000);
    const story = crowded();
    expect(liveCount(story)).toBe(1_000);
    expect(story.tell(logout(1, 'device-5'), login(1, 'one more'))).toBe('applied session.started(one more@1)');
    expect(liveCount(story)).toBe(1_000);
  });

  test('I7: who was heard of is not who started last: a sign of life, a takeover and a will each count', () => {
    const story = crowded();
    story.tell(login(1, 'device-0'), login(2, 'device-1'), will(1, 'device-2'));
    expect(story.pass(1).tell(login(1, 'one more'))).toContain('session.ended(device-3@1 replaced)');
  });

  test('I7: a lost session counts as live, and is replaced at its epoch like any other', () => {
    const story = crowded({ graceMs: 3_600_000 });
    story.tell(will(2, 'device-0'));
    for (const index of numbers.slice(1)) story.user = hear(story.user, login(1, `device-${index}`), startMs + 1);
    expect(story.state('device-0')).toBe('lost@2');
    expect(story.pass(1).tell(login(1, 'one more'))).toBe(
      'applied session.started(one more@1) session.ended(device-0@2 replaced)',
    );
    expect(story.pass(3_600_001).tell(lapse)).toBe('applied');
  });

  test('I7: takeovers, returns within grace, signs of life and implied ends replace nobody', () => {
    const story = crowded();
    for (const signal of [
      login(2, 'device-3'),
      will(2, 'device-3'),
      login(3, 'device-3'),
      login(3, 'device-3'),
      will(1, 'unheard of'),
    ]) {
      expect(story.tell(signal)).not.toContain('replaced');
    }
    expect(liveCount(story)).toBe(liveSessionsMax);
  });

  test('I6, I7: a deadline that is over makes room, so that nobody is replaced', () => {
    const story = crowded();
    story.tell(will(1, 'device-5'));
    expect(story.pass(5_001).tell(login(1, 'one more'))).toBe(
      'applied session.ended(device-5@1 will) session.started(one more@1)',
    );
  });

  test('I7, I11: what was replaced may still owe a will, which does not take its next connection down', () => {
    const story = crowded();
    story.tell(login(1, 'one more'), login(null, 'device-0'));
    expect(story.state('device-0')).toBe('online@2');
    expect(story.tell(will(null, 'device-0'))).toBe('stale');
    expect(story.state('device-0')).toBe('online@2');
  });

  test('I1, I3, I7: what was replaced has ended: only its next connection starts it again, and replaces another', () => {
    const story = crowded();
    story.tell(login(1, 'one more'));
    const { user } = story;
    for (const signal of [login(1, 'device-0'), will(1, 'device-0'), logout(1, 'device-0')]) {
      expect(story.tell(signal)).toBe('repeat');
    }
    expect(story.user).toBe(user);
    expect(story.pass(1).tell(login(2, 'device-0'))).toBe(
      'applied session.started(device-0@2) session.ended(device-1@1 replaced)',
    );
  });
});

describe('I8: the order of the events of one user', () => {
  test('I8: sequences are 1, 2, 3 … without gaps, over sessions, kicks and lapses', () => {
    const story = new Story();
    story.tell(login(1, 'phone'), will(null, 'watch'), will(1, 'phone'), login(1, 'tablet'));
    story.pass(5_001).tell(lapse, kick(null), login(2, 'phone'), logout(2, 'phone'));
    expect(story.events.map(({ sequence }) => sequence)).toEqual(story.events.map((_, index) => index + 1));
    expect(story.user.sequence).toBe(story.events.length);
  });

  test('I8: the time of an event never decreases, though the clock goes back', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(1));
    story.pass(-3_600_000).tell(will(1));
    story.pass(10).tell(login(2), kick(), will(9, 'tablet'));
    expect(story.events.map(({ atMs }) => atMs)).toEqual(story.events.map(() => startMs));
    expect(story.user.sinceMs).toBe(startMs);
    story.pass(3_600_000).tell(login(3));
    expect(story.events.at(-1)?.atMs).toBe(story.nowMs);
  });

  test('I8: a clock that goes back ends no grace and no lease early', () => {
    const story = new Story({ leaseMs: 60_000 });
    story.tell(login(1, 'phone'), login(1, 'tablet'), will(1, 'tablet'));
    expect(story.pass(-3_600_000).tell(lapse)).toBe('applied');
    expect([story.state('phone'), story.state('tablet')]).toEqual(['online@1', 'lost@1']);
  });
});

function permutations(signals: readonly Signal[]): Signal[][] {
  if (signals.length === 0) return [[]];
  return signals.flatMap((first, index) => permutations(signals.toSpliced(index, 1)).map((rest) => [first, ...rest]));
}

const numbers = Array.from({ length: liveSessionsMax }, (_, index) => index);
/** Hears a signal without the laws of the story, which are slow for a thousand sessions a thousand times. */
const hear = (user: UserState, signal: Signal, nowMs: number) =>
  freezeUser(decide(user, signal, { nowMs, lapseUntilMs: null }, rules).user);
/** device-0, device-1 … to the bound, each at epoch 1, heard of a millisecond after the one before it. */
const crowd = numbers.reduce<UserState>(
  (user, index) => hear(user, login(1, `device-${index}`), startMs - liveSessionsMax + index),
  unknownUser(userId),
);

function crowded(changes: Partial<Rules> = {}): Story {
  const story = new Story(changes);
  story.user = crowd;
  return story;
}

function liveCount({ user }: Story): number {
  return [...user.sessions.values()].filter(isLive).length;
}
