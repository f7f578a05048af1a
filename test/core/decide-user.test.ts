import { describe, expect, test } from 'vitest';
import type { Signal } from '../../src/core/signal.ts';
import { kick, lapse, login, logout, Story, startMs, will } from './story.ts';

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
