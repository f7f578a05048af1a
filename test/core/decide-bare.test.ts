import { describe, expect, test } from 'vitest';
import { kick, login, logout, Story, will } from './story.ts';

const bare = will(null, null);
const impliedEnd = 'applied session.ended(default@null will) user.offline(default@null will)';

describe('I4: births are optional', () => {
  test('I4: a will for a user never seen is announced, at once and without grace', () => {
    const story = new Story({ graceMs: 60_000 });
    expect(story.tell(bare)).toBe(impliedEnd);
    expect(story.session('default')).toMatchObject({ status: 'ended', epoch: null, reason: 'will' });
  });

  test('I4: a will for a session never seen is announced, and the user stays online by the others', () => {
    const story = new Story();
    story.tell(login(1, 'tablet'));
    expect(story.tell(will(7))).toBe('applied session.ended(phone@7 will)');
    expect(story.tell(will(null, 'watch'))).toBe('applied session.ended(watch@null will)');
    expect(story.state('tablet')).toBe('online@1');
  });

  test('I4: a goodbye of a session never seen is announced as a logout', () => {
    expect(new Story().tell(logout(null))).toBe(
      'applied session.ended(phone@null logout) user.offline(phone@null logout)',
    );
  });

  test('I4: with an epoch, one up to the last ended epoch is a repeat, and a larger one an end of its own', () => {
    const story = new Story();
    story.tell(will(5));
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.tell(will(4))).toBe('repeat');
    expect(story.tell(will(6))).toBe('applied session.ended(phone@6 will) user.offline(phone@6 will)');
  });

  test('I4: an implied end without epoch leaves the epoch of its session where it was', () => {
    const story = new Story();
    story.tell(login(5), logout(5));
    expect(story.pass(10_000).tell(will(null))).toBe(
      'applied session.ended(phone@null will) user.offline(phone@null will)',
    );
    expect(story.state()).toBe('ended@5');
    expect(story.tell(login(5), will(5))).toBe('repeat');
  });

  test('I4: a redelivery is a repeat, whatever it says, whenever it comes', () => {
    const redelivered = { isRedelivery: true };
    for (const signal of [
      will(null, null, redelivered),
      logout(null, 'phone', redelivered),
      login(null, 'x', redelivered),
    ]) {
      const unheard = new Story();
      expect(unheard.tell(signal)).toBe('repeat');
      expect(unheard.events).toEqual([]);
      const story = new Story();
      story.tell(login(null));
      const { user } = story;
      expect(story.pass(60_000).tell(signal)).toBe('repeat');
      expect(story.user).toBe(user);
    }
  });

  test.each([
    [0, 'repeat'],
    [9_999, 'repeat'],
    [10_000, impliedEnd],
    [10_001, impliedEnd],
  ])("I4: a bare will %i ms after the user's last end: %s", (ms, told) => {
    const story = new Story();
    story.tell(login(1, 'tablet'), logout(1, 'tablet'));
    expect(story.pass(ms).tell(bare)).toBe(told);
  });

  test('I4: a repeat does not prolong the window', () => {
    const story = new Story();
    story.tell(bare);
    expect(story.pass(6_000).tell(bare)).toBe('repeat');
    expect(story.pass(4_000).tell(bare)).toBe(impliedEnd);
  });

  test('I4: for a named session its own last end counts, or that of the default session, but not that of another device', () => {
    const own = new Story();
    own.tell(login(1), logout(1));
    expect(own.pass(9_999).tell(will(null))).toBe('repeat');
    expect(own.pass(1).tell(will(null))).toContain('session.ended(phone@null will)');
    const whole = new Story();
    whole.tell(bare);
    expect(whole.pass(9_999).tell(will(null))).toBe('repeat');
    expect(whole.pass(1).tell(will(null))).toContain('session.ended(phone@null will)');
    const another = new Story();
    another.tell(login(1, 'tablet'), logout(1, 'tablet'));
    expect(another.tell(will(null))).toContain('session.ended(phone@null will)');
  });

  test('I4: the window is none of the business of a live session', () => {
    const story = new Story({ graceMs: 0, takeoverWindowMs: 0 });
    story.tell(login(null), will(null), login(null));
    expect(story.tell(bare)).toContain('session.ended(phone@2 will)');
  });

  test('I4: after a kick a will without epoch is a repeat until there is a login', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(null), kick());
    expect(story.pass(86_400_000).tell(bare)).toBe('repeat');
    expect(story.tell(will(null))).toBe('repeat');
    expect(story.tell(logout(null))).toBe('repeat');
    story.tell(login(null));
    expect(story.pass(2_000).tell(bare)).toContain('session.ended(phone@2 will)');
    expect(story.pass(20_000).tell(bare)).toBe(impliedEnd);
  });

  test('I4: a repeated birth of the kicked connection is no login', () => {
    const story = new Story();
    story.tell(login(5), kick(), login(5));
    expect(story.pass(86_400_000).tell(bare)).toBe('repeat');
  });

  test('I4: a bare will means every live session, and makes each of them lost', () => {
    const story = new Story();
    story.tell(login(1, 'phone'), login(9, 'tablet'), login(null, 'watch'));
    expect(story.tell(bare)).toBe('applied');
    expect(['phone', 'tablet', 'watch'].map((name) => story.state(name))).toEqual(['lost@1', 'lost@9', 'lost@1']);
    expect(story.tell(bare)).toBe('repeat');
  });

  test('I4: a bare goodbye ends every live session at once, lost ones too', () => {
    const story = new Story();
    story.tell(login(1, 'phone'), login(2, 'tablet'), will(2, 'tablet'));
    expect(story.tell(logout(null, null))).toBe(
      'applied session.ended(phone@1 logout) session.ended(tablet@2 logout) user.offline(tablet@2 logout)',
    );
  });

  test('I4: a will without epoch for a named session leaves the others alone', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(1, 'phone'), login(1, 'tablet'));
    expect(story.tell(will(null, 'tablet'))).toBe('applied session.ended(tablet@1 will)');
    expect(story.state('phone')).toBe('online@1');
  });
});

describe('I11: takeover without epochs', () => {
  const takenOver = (extra = {}) => {
    const story = new Story({ graceMs: 0, ...extra });
    story.tell(login(null));
    story.pass(60_000).tell(login(null));
    return story;
  };

  test.each([0, 999])('I11: one will %i ms after the takeover is stale, and the next one counts', (ms) => {
    for (const signal of [will(null), bare]) {
      const story = takenOver();
      story.pass(ms);
      expect(story.tell(signal)).toBe('stale');
      expect(story.state()).toBe('online@2');
      expect(story.tell(signal)).toContain('session.ended(phone@2 will)');
    }
  });

  test.each([1_000, 1_001])('I11: a will %i ms after the takeover counts', (ms) => {
    expect(takenOver().pass(ms).tell(bare)).toContain('session.ended(phone@2 will)');
  });

  test('I11: the first login of a session takes nothing over', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(null));
    expect(story.tell(bare)).toContain('session.ended(phone@1 will)');
  });

  test("I11: a lost session's return opens no window: its will has been heard", () => {
    const story = new Story();
    story.tell(login(null), will(null), login(null));
    expect(story.state()).toBe('online@2');
    expect(story.tell(will(null))).toBe('applied');
    expect(story.state()).toBe('lost@2');
  });

  test('I11: two takeovers within the window make two wills stale', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(null));
    for (let count = 0; count < 2; count += 1) story.pass(900).tell(login(null));
    expect(story.pass(900).tell(will(null))).toBe('stale');
    expect(story.tell(bare)).toBe('stale');
    expect(story.tell(will(null))).toContain('session.ended(phone@3 will)');
  });

  test('I11: what an earlier window left owed is not owed in a later one', () => {
    const story = takenOver();
    story.pass(1_000).tell(login(null));
    expect(story.tell(will(null))).toBe('stale');
    expect(story.tell(will(null))).toContain('session.ended(phone@3 will)');
  });

  test('I11: a login after a kick or an expired lease takes over a connection whose will has not been heard', () => {
    const kicked = new Story({ graceMs: 0 });
    kicked.tell(login(null), kick(), login(null));
    const expired = new Story({ graceMs: 0, leaseMs: 60_000 });
    expired.tell(login(null));
    expired.pass(60_001).tell(login(null));
    for (const story of [kicked, expired]) {
      expect(story.state()).toBe('online@2');
      expect(story.tell(will(null))).toBe('stale');
      expect(story.tell(will(null))).toContain('session.ended(phone@2 will)');
    }
  });

  test('I11: after a will or a goodbye of its own a session owes nothing when it returns', () => {
    for (const leave of [will(null), logout(null)]) {
      const story = new Story({ graceMs: 0 });
      story.tell(login(null), leave, login(null));
      expect(story.tell(will(null))).toContain('session.ended(phone@2 will)');
    }
  });

  test('I11: however often a client takes itself over, what it is owed is bounded', () => {
    const story = new Story({ graceMs: 0 });
    for (let count = 0; count <= 200; count += 1) story.tell(login(null));
    for (let count = 0; count < 100; count += 1) expect(story.tell(will(null))).toBe('stale');
    expect(story.tell(will(null))).toContain('user.offline');
  });

  test('I11: a goodbye is never stale by a takeover', () => {
    expect(takenOver().tell(logout(null))).toContain('session.ended(phone@2 logout)');
    expect(takenOver().tell(logout(null, null))).toContain('session.ended(phone@2 logout)');
  });

  test('I11: a bare will that meets one session that is owed a will is stale as a whole', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(1, 'tablet'), login(null));
    story.pass(60_000).tell(login(null));
    expect(story.tell(bare)).toBe('stale');
    expect([story.state('phone'), story.state('tablet')]).toEqual(['online@2', 'online@1']);
    expect(story.tell(bare)).toContain('user.offline');
  });

  test('I11: a will that names another session is not stale by this takeover', () => {
    const story = takenOver();
    story.tell(login(null, 'tablet'));
    expect(story.tell(will(null, 'tablet'))).toBe('applied session.ended(tablet@1 will)');
    expect(story.tell(will(null))).toBe('stale');
  });

  test('I11: a will with an epoch is judged by the epoch, and uses up no window', () => {
    const story = takenOver();
    expect(story.tell(will(1))).toBe('stale');
    expect(story.tell(will(null))).toBe('stale');
    expect(story.tell(will(2))).toContain('session.ended(phone@2 will)');
  });

  test('I11: a sign of life of the new connection opens no window, and closes none', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(5));
    story.pass(60_000).tell(login(6), login(6));
    expect(story.tell(will(null))).toBe('stale');
    story.tell(login(6));
    expect(story.tell(will(null))).toContain('session.ended(phone@6 will)');
  });
});
