import { describe, expect, test } from 'vitest';
import { kick, lapse, login, logout, Story, startMs, will } from './story.ts';

const started = 'applied session.started(phone@5) user.online(phone@5)';

describe('I1: one end, one announcement', () => {
  test('I1: a will that the broker repeats announces nothing more, during grace or after it', () => {
    const story = new Story();
    story.tell(login(5), will(5));
    expect(story.tell(will(5))).toBe('repeat');
    story.pass(5_001);
    expect(story.tell(lapse)).toBe('applied session.ended(phone@5 will) user.offline(phone@5 will)');
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.pass(86_400_000).tell(will(5))).toBe('repeat');
    expect(story.ends()).toHaveLength(1);
  });

  test('I1: a repeated will does not put off the end of grace', () => {
    const story = new Story();
    story.tell(login(5), will(5));
    story.pass(4_000).tell(will(5));
    expect(story.pass(1_001).tell(lapse)).toContain('session.ended');
  });

  test('I1: a goodbye and the will of the same connection are one end, in either order', () => {
    const goodbyeFirst = new Story();
    goodbyeFirst.tell(login(5), logout(5));
    expect(goodbyeFirst.tell(will(5))).toBe('repeat');
    const willFirst = new Story();
    willFirst.tell(login(5), will(5));
    expect(willFirst.tell(logout(5))).toBe('applied session.ended(phone@5 logout) user.offline(phone@5 logout)');
    for (const story of [goodbyeFirst, willFirst]) {
      expect(story.tell(logout(5))).toBe('repeat');
      expect(story.ends()).toHaveLength(1);
    }
  });

  test('I1: the will of a connection that was kicked is a repeat', () => {
    const story = new Story();
    story.tell(login(5));
    expect(story.tell(kick())).toBe('applied session.ended(phone@5 kicked) user.offline(phone@5 kicked)');
    expect(story.pass(86_400_000).tell(will(5))).toBe('repeat');
    expect(story.tell(logout(5))).toBe('repeat');
    expect(story.ends()).toHaveLength(1);
  });

  test('I1: the kicked connection stays fenced by the epoch that the kick made forget, while the session lives at a lower one', () => {
    const story = new Story();
    story.tell(login(5), kick());
    expect(story.tell(login(3))).toContain('session.started(phone@3)');
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.tell(logout(5))).toBe('repeat');
    expect(story.state()).toBe('online@3');
    expect(story.tell(will(3))).toBe('applied');
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.tell(logout(3))).toContain('session.ended(phone@3 logout)');
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.ends().map(({ epoch }) => epoch)).toEqual([5, 3]);
  });

  test('I1, I3: the birth of the kicked connection is a repeat at any time, also when it comes after births with lower epochs', () => {
    const story = new Story();
    story.tell(login(5));
    for (const [signal, state] of [
      [kick(), 'ended@null'],
      [login(3), 'online@3'],
      [login(4), 'online@4'],
      [will(4), 'lost@4'],
      [logout(4), 'ended@4'],
      [kick(), 'ended@null'],
      [login(2), 'online@2'],
    ] as const) {
      story.tell(signal);
      const { user } = story;
      expect([story.pass(1).tell(login(5)), story.state()]).toEqual(['repeat', state]);
      expect(story.user).toBe(user); // no sign of life either
    }
    expect(story.ends().map(({ epoch }) => epoch)).toEqual([5, 4]);
    story.tell(login(6));
    expect(story.tell(login(5))).toBe('stale');
  });

  test('I1: a second kick keeps the higher of the forgotten epochs, so that no connection ends twice', () => {
    const story = new Story();
    story.tell(login(5), kick(), login(3), kick());
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.tell(will(3))).toBe('repeat');
    expect(story.ends().map(({ epoch }) => epoch)).toEqual([5, 3]);
  });

  test('I1: an implied end without epoch leaves the kicked connection fenced', () => {
    const story = new Story();
    story.tell(login(5), kick(), login(1, 'tablet'));
    expect(story.pass(20_000).tell(will(null))).toBe('applied session.ended(phone@null will)');
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.tell(login(5))).toBe('repeat');
  });

  test('I1: a kick that is repeated, or that finds nothing, announces nothing', () => {
    const story = new Story();
    expect(story.tell(kick())).toBe('applied');
    expect(story.state()).toBe('absent');
    story.tell(login(5), kick());
    expect(story.tell(kick(), kick(null))).toBe('applied');
    expect(story.tell(will(5))).toBe('repeat');
    expect(story.ends()).toHaveLength(1);
  });
});

describe('I2: an old will never takes a newer connection down', () => {
  test('I2: a will or a goodbye of an older connection is stale, whether the session is online or lost', () => {
    const story = new Story();
    story.tell(login(4), login(5));
    expect(story.tell(will(4))).toBe('stale');
    expect(story.tell(logout(4))).toBe('stale');
    expect(story.state()).toBe('online@5');
    story.tell(will(5));
    expect(story.tell(will(4))).toBe('stale');
    expect(story.tell(logout(4))).toBe('stale');
    expect(story.state()).toBe('lost@5');
  });

  test('I2: a newer login replaces the connection of a live session, and nothing is announced', () => {
    const story = new Story();
    expect(story.tell(login(5))).toBe(started);
    const { startedAtMs } = story.session() ?? {};
    expect(story.pass(1).tell(login(6))).toBe('applied');
    expect(story.session()).toMatchObject({ epoch: 6, startedAtMs, lastSeenAtMs: story.nowMs });
    expect(story.events).toHaveLength(2);
  });

  test('I2: one millisecond, or one count, between two epochs is enough', () => {
    for (const epoch of [1, startMs]) {
      const story = new Story({ graceMs: 0 });
      story.tell(login(epoch - 1), login(epoch));
      expect(story.tell(will(epoch - 1))).toBe('stale');
      expect(story.tell(will(epoch))).toContain('session.ended');
    }
  });
});

describe('I3: what has ended stays ended', () => {
  test('I3: after an end nothing with an epoch up to it reopens the session', () => {
    const story = new Story();
    story.tell(login(5), logout(5));
    expect(story.tell(login(5))).toBe('repeat');
    expect(story.tell(login(4))).toBe('stale');
    expect(story.pass(86_400_000).tell(login(5))).toBe('repeat');
    expect(story.state()).toBe('ended@5');
    expect(story.tell(login(6))).toContain('session.started(phone@6)');
  });

  test('I3: a lost session comes back by a larger epoch only', () => {
    const story = new Story();
    story.tell(login(5), will(5));
    expect(story.tell(login(5))).toBe('repeat');
    expect(story.tell(login(4))).toBe('stale');
    expect(story.state()).toBe('lost@5');
    expect(story.tell(login(6))).toBe('applied');
    expect(story.state()).toBe('online@6');
  });

  test('I3: a login without epoch counts as the last known epoch + 1', () => {
    const story = new Story();
    story.tell(login(null));
    expect(story.state()).toBe('online@1');
    story.tell(login(null));
    expect(story.state()).toBe('online@2');
    story.tell(login(7), logout(7));
    expect(story.tell(login(null))).toContain('session.started(phone@8)');
    story.tell(kick());
    expect(story.tell(login(null))).toContain('session.started(phone@9)');
    // A forgotten epoch counts also when the device has come back below it.
    story.tell(kick(), login(8));
    expect(story.tell(login(null))).toBe('applied');
    expect(story.state()).toBe('online@10');
  });

  test('I3: epoch 0 is an epoch', () => {
    const story = new Story();
    expect(story.tell(login(0))).toContain('session.started(phone@0)');
    story.tell(logout(0));
    expect(story.tell(login(0), will(0))).toBe('repeat');
    story.tell(kick());
    expect(story.tell(login(0), will(0))).toBe('repeat');
    expect(story.tell(login(null))).toContain('session.started(phone@1)');
  });

  test('I3: a kick forgets the epoch, so that a device whose clock went back is let in again', () => {
    const story = new Story();
    story.tell(login(9), logout(9));
    expect(story.tell(login(5))).toBe('stale');
    expect(story.tell(kick())).toBe('applied');
    expect(story.tell(login(9))).toBe('repeat');
    expect(story.tell(login(5))).toContain('session.started(phone@5)');
    expect(story.tell(login(4))).toBe('stale');
  });

  test('I3: what no rule can know: a birth below the forgotten epoch is believed, though it may be an old one', () => {
    const story = new Story();
    story.tell(login(4), login(9), kick());
    expect(story.tell(login(3))).toContain('session.started(phone@3)');
    expect(story.tell(login(4))).toBe('applied');
    expect(story.state()).toBe('online@4');
    expect(story.tell(login(3))).toBe('stale');
  });

  test('I3: the price: a device that counts again from 1 after a kick is not heard at the forgotten number, and is at the next', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(3), kick());
    for (const epoch of [1, 2]) {
      expect(story.tell(login(epoch))).toContain(`session.started(phone@${epoch})`);
      expect(story.tell(will(epoch))).toContain(`session.ended(phone@${epoch} will)`);
    }
    const { user } = story;
    expect([story.tell(login(3)), story.tell(will(3))]).toEqual(['repeat', 'repeat']);
    expect(story.user).toBe(user);
    expect(story.tell(login(4))).toContain('session.started(phone@4)');
    expect(story.tell(will(4))).toContain('session.ended(phone@4 will)');
  });

  test('I3: a kick of all sessions forgets the epochs of those that were live; one that has ended is forgotten by name', () => {
    const story = new Story();
    story.tell(login(9, 'phone'), logout(9, 'phone'), login(9, 'tablet'), kick(null));
    expect([story.state('phone'), story.state('tablet')]).toEqual(['ended@9', 'ended@null']);
    expect(story.tell(login(5, 'phone'))).toBe('stale');
    expect(story.tell(kick('phone'), login(5, 'phone'))).toContain('session.started(phone@5)');
  });

  test('I3: a stale or a repeated birth of a dead connection is no sign of life', () => {
    const story = new Story();
    story.tell(login(5), logout(5));
    const { user } = story;
    story.pass(1_000).tell(login(5), login(4));
    expect(story.user).toBe(user);
  });
});

describe('I5: a will may outrun its own birth', () => {
  test('I5: a newer will makes a live session lost at its epoch, and the late birth is a repeat', () => {
    const story = new Story();
    story.tell(login(5));
    expect(story.tell(will(6))).toBe('applied');
    expect(story.state()).toBe('lost@6');
    expect(story.tell(login(6))).toBe('repeat');
    expect(story.tell(will(5))).toBe('stale');
    expect(story.pass(5_001).tell(lapse)).toContain('session.ended(phone@6 will)');
    expect(story.tell(login(6))).toBe('repeat');
  });

  test('I5: on a lost session too, and grace begins anew', () => {
    const story = new Story();
    story.tell(login(5), will(5));
    story.pass(4_000).tell(will(6));
    expect(story.pass(4_000).tell(lapse)).toBe('applied');
    expect(story.state()).toBe('lost@6');
    expect(story.pass(1_001).tell(lapse)).toContain('session.ended(phone@6 will)');
  });

  test('I5: without grace, or with a goodbye, the session ends at that epoch at once', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(5));
    expect(story.tell(will(6))).toContain('session.ended(phone@6 will)');
    expect(story.tell(login(6), will(5))).toBe('repeat');
    story.tell(login(7));
    expect(story.tell(logout(8))).toContain('session.ended(phone@8 logout)');
    expect(story.tell(login(8))).toBe('repeat');
  });

  test('I5: before the session was ever heard of, the will ends it and the late birth does not open it', () => {
    const story = new Story();
    expect(story.tell(will(5))).toBe('applied session.ended(phone@5 will) user.offline(phone@5 will)');
    expect(story.tell(login(5))).toBe('repeat');
    expect(story.tell(login(6))).toContain('user.online(phone@6)');
  });
});

describe('I2: after a kick made a session forget its epoch, and it lives at a lower one', () => {
  const backAtThree = () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(5), kick(), login(3));
    return story;
  };

  test('I2: a late will of the connection that a second kick ended does not take the living one down', () => {
    const story = backAtThree();
    story.tell(kick(), login(2));
    expect(story.tell(will(3))).toBe('repeat');
    expect(story.state()).toBe('online@2');
  });

  test('I2: a late will of a connection before the kicked one does not take the living one down', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(4), login(5), kick(), login(3));
    story.tell(will(4));
    expect(story.state()).toBe('online@3');
  });
});
