import { describe, expect, test } from 'vitest';
import { deadlineMs } from '../../src/core/decide.ts';
import { isLive } from '../../src/core/session.ts';
import { kick, lapse, login, logout, Story, will } from './story.ts';

const willEnded = 'session.ended(phone@5 will) user.offline(phone@5 will)';

describe('I6: grace', () => {
  test('I6: a return within grace makes the session online again, and nothing is announced', () => {
    const story = new Story();
    story.tell(login(5));
    const announced = story.events.length;
    expect(story.pass(1_000).tell(will(5))).toBe('applied');
    expect(story.state()).toBe('lost@5');
    expect(story.pass(4_999).tell(login(6))).toBe('applied');
    expect(story.state()).toBe('online@6');
    expect(story.pass(60_000).tell(lapse)).toBe('applied');
    expect(story.events).toHaveLength(announced);
  });

  test.each([
    [-1, 'applied', 'lost@5'],
    [0, 'applied', 'lost@5'],
    [1, `applied ${willEnded}`, 'ended@5'],
  ])('I6: a lapse %i ms after the deadline: %s', (ms, told, state) => {
    const story = new Story();
    story.tell(login(5), will(5));
    expect(story.pass(5_000 + ms).tell(lapse)).toBe(told);
    expect(story.state()).toBe(state);
  });

  test('I6: a birth in the very millisecond of the deadline saves the session, one later starts it anew', () => {
    const saved = new Story();
    saved.tell(login(5), will(5));
    expect(saved.pass(5_000).tell(login(6))).toBe('applied');
    const late = new Story();
    late.tell(login(5), will(5));
    expect(late.pass(5_001).tell(login(6))).toBe(`applied ${willEnded} session.started(phone@6) user.online(phone@6)`);
  });

  test('I6: an overdue deadline is decided before the signal that finds it, whichever it is', () => {
    const told = [
      login(5),
      login(4),
      will(5),
      will(4),
      will(6),
      logout(5),
      kick(),
      login(1, 'tablet'),
      will(1, 'tablet'),
    ].map((signal) => {
      const story = new Story();
      story.tell(login(5), will(5));
      return story.pass(5_001).tell(signal);
    });
    expect(told).toEqual([
      `repeat ${willEnded}`,
      `stale ${willEnded}`,
      `repeat ${willEnded}`,
      `repeat ${willEnded}`,
      `applied ${willEnded} session.ended(phone@6 will) user.offline(phone@6 will)`,
      `repeat ${willEnded}`,
      `applied ${willEnded}`,
      `applied ${willEnded} session.started(tablet@1) user.online(tablet@1)`,
      `applied ${willEnded} session.ended(tablet@1 will) user.offline(tablet@1 will)`,
    ]);
  });

  test('I6: nothing lapses while a saving birth may be waiting unread, however late', () => {
    const story = new Story({ leaseMs: 60_000 });
    story.tell(login(5), will(5), login(1, 'tablet'));
    story.pass(86_400_000);
    expect(story.hear(lapse, false)).toEqual({ outcome: 'applied', user: story.user, events: [] });
    expect(story.hear(will(5), false).events).toEqual([]);
    expect(story.hear(login(6), false)).toMatchObject({ outcome: 'applied', events: [] });
    expect(story.hear(login(1, 'tablet'), false)).toMatchObject({ outcome: 'repeat', events: [] });
    expect(story.tell(lapse)).toBe('applied');
    expect([story.state(), story.state('tablet')]).toEqual(['online@6', 'online@1']);
  });

  test('I6: goodbyes and kicks know no grace, and need no permission to end', () => {
    for (const signal of [logout(5), logout(null), logout(null, null), kick(), kick(null)]) {
      for (const first of [login(5), will(5)]) {
        const story = new Story({ graceMs: 3_600_000 });
        story.tell(login(5), first);
        expect(story.hear(signal, false).events.map(({ type }) => type)).toEqual(['session.ended', 'user.offline']);
      }
    }
  });

  test('I6: GRACE_MS=0 ends within the same decision, and leaves no deadline behind', () => {
    for (const signal of [will(5), will(null), will(null, null)]) {
      const story = new Story({ graceMs: 0 });
      story.tell(login(5));
      expect(story.hear(signal, false).events.map(({ type }) => type)).toEqual(['session.ended', 'user.offline']);
    }
  });

  test('I6: the deadline is part of the state, and a change of the setting does not move it', () => {
    const long = new Story({ graceMs: 60_000 });
    long.tell(login(5), will(5));
    const short = new Story({ graceMs: 1 });
    short.user = long.user;
    short.nowMs = long.nowMs;
    expect(short.pass(60_000).tell(lapse)).toBe('applied');
    expect(short.pass(1).tell(lapse)).toBe(`applied ${willEnded}`);
  });

  test('I6: several overdue sessions end in the order of their deadlines', () => {
    const story = new Story();
    story.tell(login(1, 'a'), login(1, 'b'), login(1, 'c'));
    for (const name of ['c', 'a', 'b']) story.pass(10).tell(will(1, name));
    expect(story.pass(60_000).tell(lapse)).toBe(
      ['applied', ...['c', 'a', 'b'].map((name) => `session.ended(${name}@1 will)`), 'user.offline(b@1 will)'].join(
        ' ',
      ),
    );
  });
});

describe('leases', () => {
  const untilMs = (story: Story) => {
    const session = story.session();
    return session !== undefined && isLive(session) ? deadlineMs(session) : undefined;
  };

  test('without a lease a session lives until it ends', () => {
    const story = new Story({ leaseMs: 0 });
    story.tell(login(5));
    expect(untilMs(story)).toBeNull();
    expect(story.pass(10 * 365 * 86_400_000).tell(lapse)).toBe('applied');
    expect(story.state()).toBe('online@5');
  });

  test('a session that shows no sign of life for its lease is expired, and not a millisecond earlier', () => {
    const story = new Story({ leaseMs: 60_000 });
    story.tell(login(5));
    expect(story.pass(60_000).tell(lapse)).toBe('applied');
    expect(story.pass(1).tell(lapse)).toBe('applied session.ended(phone@5 expired) user.offline(phone@5 expired)');
    expect(story.tell(will(5))).toBe('repeat');
  });

  test('a repeated birth is a sign of life: it renews the lease and is no event', () => {
    const story = new Story({ leaseMs: 60_000 });
    story.tell(login(5));
    for (let beat = 0; beat < 5; beat += 1) expect(story.pass(59_000).tell(login(5))).toBe('repeat');
    expect(story.session()).toMatchObject({ lastSeenAtMs: story.nowMs, epoch: 5 });
    expect(story.user.lastSeenAtMs).toBe(story.nowMs);
    expect(untilMs(story)).toBe(story.nowMs + 60_000);
    expect(story.events).toHaveLength(2);
  });

  test('a new connection and a return within grace begin a new lease; grace replaces it', () => {
    const story = new Story({ leaseMs: 60_000 });
    story.tell(login(5));
    story.pass(50_000).tell(login(6));
    expect(untilMs(story)).toBe(story.nowMs + 60_000);
    story.pass(50_000).tell(will(6));
    expect(untilMs(story)).toBe(story.nowMs + 5_000);
    story.pass(1_000).tell(login(7));
    expect(untilMs(story)).toBe(story.nowMs + 60_000);
  });

  test('old and dead connections renew nothing', () => {
    const story = new Story({ leaseMs: 60_000 });
    story.tell(login(4), login(5));
    const before = untilMs(story);
    story.pass(1_000).tell(login(4), will(4));
    expect(untilMs(story)).toBe(before);
  });
});
