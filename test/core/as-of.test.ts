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

  test('where what is needed is missing it cannot be told: it is never offline for that', () => {
    const [first, second] = story.events;
    if (first === undefined || second === undefined) throw new Error('there is no story');
    expect([first.type, second.type, second.atMs]).toEqual(['session.started', 'user.online', first.atMs]);
    for (const gone of [1, 2, 3]) {
      const left = story.events.slice(gone);
      const announcedMs = left.find(({ type }) => type.startsWith('user.'))?.atMs ?? 0;
      for (const moment of [startMs, first.atMs - 1, first.atMs, announcedMs - 1]) {
        const isTold = moment >= announcedMs;
        expect(presenceAt(userId, moment, left) !== null, `${gone} gone, ${moment - startMs}`).toBe(isTold);
      }
      expect(presenceAt(userId, announcedMs, left)).toEqual(presenceAt(userId, announcedMs, story.events));
    }
    // The last word about him says what he is, and not how far his events go.
    expect(presenceAt(userId, first.atMs, [], { status: 'online', sinceMs: first.atMs })).toBeNull();
  });

  test('the last announcement of all is believed without its event', () => {
    const left = story.events.slice(-1);
    const atMs = left[0]?.atMs ?? 0;
    const last = { status: 'online', sinceMs: atMs - 7 } as const;
    const sequence = left[0]?.sequence;
    expect(presenceAt(userId, atMs, left, last)).toEqual({ userId, ...last, sequence, atMs });
  });

  test('before the first event nothing was known', () => {
    const nothing = { userId, status: 'offline', sinceMs: null, sequence: 0 };
    expect(presenceAt(userId, startMs, story.events)).toEqual({ ...nothing, atMs: startMs });
    expect(presenceAt(userId, startMs, [])).toEqual({ ...nothing, atMs: startMs });
  });
});
