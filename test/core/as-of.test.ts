import { describe, expect, test } from 'vitest';
import { presenceAt } from '../../src/core/as-of.ts';
import { presenceOf } from '../../src/core/presence.ts';
import { login, logout, Story, startMs, userId, will } from './story.ts';

describe('what was at a moment is told by the log', () => {
  const story = new Story();
  const shown: { atMs: number; status: string; sinceMs: number | null; sequence: number }[] = [];
  const link = { isUp: true, heardAtMs: null, gapAtMs: null };
  for (const signal of [login(1), login(1, 'tab'), logout(1), will(1, 'tab'), login(2), logout(2), logout(3, 'desk')]) {
    story.pass(20_000).hear(signal);
    const { status, sinceMs, sequence } = presenceOf(
      { ...story.user, sessions: [...story.user.sessions.values()] },
      link,
    );
    shown.push({ atMs: story.nowMs, status, sinceMs, sequence });
  }

  test.each(shown)('as it was shown then: $status at $sequence', ({ atMs, ...then }) => {
    for (const moment of [atMs, atMs + 1, atMs + 19_999]) {
      expect(presenceAt(userId, moment, story.events)).toEqual({ userId, ...then, atMs: moment });
    }
  });

  test('before the first event nothing was known', () => {
    const nothing = { userId, status: 'offline', sinceMs: null, sequence: 0 };
    expect(presenceAt(userId, startMs, story.events)).toEqual({ ...nothing, atMs: startMs });
    expect(presenceAt(userId, startMs, [])).toEqual({ ...nothing, atMs: startMs });
  });
});
