import { describe, expect, test } from 'vitest';
import { type Known, presenceOf } from '../../src/core/presence.ts';
import { login, logout, Story, userId, will } from './story.ts';

const up = { isUp: true, heardAtMs: 5_000, gapAtMs: null };
const heardAt = (lastSeenAtMs: number | null): Known => ({
  userId,
  sequence: 0,
  sinceMs: null,
  lastSeenAtMs,
  sessions: [],
});

describe('what readers are shown', () => {
  test('a user that was never seen is offline, with nothing known', () => {
    expect(presenceOf(heardAt(null), up)).toEqual({
      userId,
      status: 'offline',
      sequence: 0,
      sinceMs: null,
      lastSeenAtMs: null,
      sessions: [],
      asOfMs: 5_000,
      isStale: false,
    });
  });

  test('I7: online while a session is online or lost; sessions that have ended are not listed', () => {
    const story = new Story();
    const shown = () => presenceOf({ ...story.user, sessions: [...story.user.sessions.values()] }, up);
    story.tell(login(1, 'phone'), login(1, 'tablet'), logout(1, 'tablet'), will(1, 'phone'));
    expect(shown().status).toBe('online');
    expect(shown().sessions.map(({ sessionId, status }) => `${sessionId} ${status}`)).toEqual(['phone lost']);
    story.tell(logout(1, 'phone'));
    expect(shown()).toMatchObject({ status: 'offline', sessions: [] });
  });
});

describe('how far it can be trusted', () => {
  test('it is stale while the link is down, as of the last packet heard', () => {
    expect(presenceOf(heardAt(9_000), { ...up, isUp: false })).toMatchObject({ isStale: true, asOfMs: 5_000 });
    expect(presenceOf(heardAt(9_000), { isUp: false, heardAtMs: null, gapAtMs: null })).toMatchObject({ asOfMs: null });
  });

  test.each([
    [null, true],
    [6_999, true],
    [7_000, false],
    [7_001, false],
  ])(
    'after the broker came back without our session at 7,000, a user last heard at %s is stale: %s',
    (lastSeenAtMs, isStale) => {
      expect(presenceOf(heardAt(lastSeenAtMs), { ...up, gapAtMs: 7_000 }).isStale).toBe(isStale);
    },
  );
});
