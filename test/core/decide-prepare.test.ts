// What a backend that prepares a login lets live at once, and how long; and for what a key speaks that is retired.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { liveSessionsMax } from '../../src/core/login.ts';
import { holdFor } from './hold-for.ts';
import { kick, lapse, login, logout, prepare, Story, will } from './story.ts';
import { ticket } from './tickets.ts';

describe('a prepared session is live before its client is heard', () => {
  test('one that was never seen starts at 0, so that whatever the client counts from, its birth and its will are heard', () => {
    for (const epoch of [0, 1, 1_700_000_000_000]) {
      const story = new Story();
      expect(story.tell(prepare())).toBe('applied session.started(phone@0) user.online(phone@0)');
      expect(story.tell(login(epoch))).toBe(epoch === 0 ? 'repeat' : 'applied');
      expect(story.tell(will(epoch))).toBe('applied');
      expect(story.state()).toBe(`lost@${epoch}`);
    }
  });

  test('its client that dies before its birth is heard of by its will', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(prepare());
    expect(story.tell(will(7))).toBe('applied session.ended(phone@7 will) user.offline(phone@7 will)');
  });

  test('an online session is alive, and its own will still counts, with its epoch and without', () => {
    for (const epoch of [5, null]) {
      const story = new Story();
      story.tell(login(5));
      expect(story.pass(100).tell(prepare())).toBe('repeat');
      expect(story.session()).toMatchObject({ epoch: 5, lastSeenAtMs: story.nowMs, takeoverAtMs: null, owedWills: 0 });
      expect(story.tell(will(epoch))).toBe('applied');
      expect(story.state()).toBe('lost@5');
    }
  });

  test('a lost session is back, unannounced, and the will that was heard is old', () => {
    const story = new Story();
    story.tell(login(5, 'phone', { device: { os: 'ios' } }), will(5));
    const { startedAtMs } = story.session() ?? {};
    expect(story.pass(100).tell(prepare('phone', { device: null }))).toBe('applied');
    expect(story.session()).toMatchObject({ status: 'online', epoch: 6, startedAtMs, device: { os: 'ios' } });
    expect(story.tell(will(5))).toBe('stale');
    story.pass(60_000).hear(lapse);
    expect(story.state()).toBe('online@6');
  });

  test('one that has ended starts at the next epoch, and after a kick behind the one that was forgotten', () => {
    const story = new Story();
    story.tell(login(5), logout(5));
    expect(story.tell(prepare())).toBe('applied session.started(phone@6) user.online(phone@6)');
    story.tell(kick());
    expect(story.tell(prepare())).toBe('applied session.started(phone@7) user.online(phone@7)');
    expect(story.tell(login(6))).toBe('stale');
    expect(story.tell(will(6))).toBe('stale');
    expect(story.user.isKicked).toBe(false);
  });

  test('one that ended without an epoch starts at 0', () => {
    const story = new Story();
    story.tell(logout(null));
    story.tell(logout(null, 'default'));
    expect(story.state('default')).toBe('ended@null');
    story.tell(prepare('default'));
    expect(story.state('default')).toBe('online@0');
  });

  test('it owes no will: the first one without an epoch counts', () => {
    for (const before of [[login(1), kick()], [login(1), will(1)], [login(1), logout(1)], []]) {
      const story = new Story();
      story.tell(...before, prepare());
      expect(story.tell(will(null))).toBe('applied');
      expect(story.session()?.status).toBe('lost');
    }
  });

  test('it replaces the session that was not heard of for longest, where there are as many as there may be', () => {
    const story = new Story();
    for (let n = 0; n < liveSessionsMax; n += 1) story.pass(1).tell(login(1, `device-${n}`));
    expect(story.tell(prepare('one-more'))).toBe(
      'applied session.started(one-more@0) session.ended(device-0@1 replaced)',
    );
  });
});

describe('a lease of its own stands in for LEASE_MS', () => {
  test.each([
    ['a birth', (leaseMs: number | null) => login(1, 'phone', { ticket: ticket({ leaseMs }) })],
    ['a prepared session', (leaseMs: number | null) => prepare('phone', leaseMs === null ? {} : { leaseMs })],
  ])('of %s, and is renewed by each', (_name, signalOf) => {
    for (const [leaseMs, settingMs, untilMs] of [
      [60_000, 0, 60_000],
      [60_000, 5_000, 60_000],
      [0, 5_000, null],
      [null, 5_000, 5_000],
      [null, 0, null],
    ] as const) {
      const story = new Story({ leaseMs: settingMs });
      for (let heard = 0; heard < 2; heard += 1) {
        story.pass(1_000).hear(signalOf(leaseMs));
        const until = untilMs === null ? null : story.nowMs + untilMs;
        expect(story.session()).toMatchObject({ status: 'online', leaseUntilMs: until });
      }
    }
  });

  test('of a birth that carries none, the setting is back', () => {
    const story = new Story({ leaseMs: 5_000 });
    story.tell(login(1, 'phone', { ticket: ticket({ leaseMs: 60_000 }) }), login(2));
    expect(story.session()).toMatchObject({ leaseUntilMs: story.nowMs + 5_000 });
  });
});

describe('the key that a session was born with', () => {
  const keyOf = (story: Story) => story.session()?.keyId;
  const by = (keyId: string) => ({ ticket: ticket({ keyId }) });

  test('is that of its birth, or of its preparation, and goes with it to its end', () => {
    const story = new Story({ graceMs: 5_000 });
    story.tell(prepare('phone', { keyId: 'a' }));
    expect(keyOf(story)).toBe('a');
    for (const [signal, keyId] of [
      [login(1, 'phone', by('b')), 'b'],
      [will(1), 'b'],
      [login(2), null],
      [login(3, 'phone', by('c')), 'c'],
      [logout(3), 'c'],
    ] as const) {
      story.hear(signal);
      expect(keyOf(story)).toBe(keyId);
    }
  });

  test('stays through signs of life: the will of that connection was signed before', () => {
    const story = new Story();
    story.tell(login(1, 'phone', by('a')), login(1, 'phone', by('b')), prepare('phone', { keyId: 'c' }), login(1));
    expect(keyOf(story)).toBe('a');
    const bare = new Story();
    bare.tell(login(1), prepare('phone', { keyId: 'c' }));
    expect(keyOf(bare)).toBe('c');
  });
});

describe('a retired key', () => {
  const retired = (keyId: string) => ({ ticket: ticket({ keyId, isRetired: true }) });
  const born = (keyId: string) => ({ ticket: ticket({ keyId }) });

  test('speaks for a live session that was born with it: online, lost, or prepared', () => {
    for (const [before, expected] of [
      [[login(1, 'phone', born('old'))], 'lost@1'],
      [[prepare('phone', { keyId: 'old' })], 'lost@1'],
      [[login(0, 'phone', born('old')), will(0)], 'lost@1'],
    ] as const) {
      const story = new Story();
      story.tell(...before);
      expect(story.tell(will(1, 'phone', retired('old')))).toBe('applied');
      expect(story.state()).toBe(expected);
    }
    const goodbye = new Story();
    goodbye.tell(login(1, 'phone', born('old')));
    expect(goodbye.tell(logout(1, 'phone', retired('old')))).toBe(
      'applied session.ended(phone@1 logout) user.offline(phone@1 logout)',
    );
  });

  test('is stale for all else, and changes nothing: sessions of other births, sessions that have ended, and those that never were', () => {
    holdFor(
      fc.property(
        fc.array(
          fc.constantFrom(
            login(1),
            login(2, 'phone', born('new')),
            login(null, 'phone', born('new')),
            prepare('phone', { keyId: 'new' }),
            login(1, 'tablet', born('old')),
            prepare('tablet', { keyId: 'old' }),
            will(2),
            will(null),
            logout(3),
            kick(),
            lapse,
          ),
          { maxLength: 12 },
        ),
        fc.constantFrom(will, logout),
        fc.option(fc.nat(5)),
        (said, kind, epoch) => {
          const story = new Story();
          for (const one of said) story.pass(700).hear(one, false);
          const { user } = story;
          expect(story.hear(kind(epoch, 'phone', retired('old')), false)).toEqual({
            outcome: 'stale',
            user,
            events: [],
          });
        },
      ),
    );
  });

  test('is over for a session that has ended, though it was born with it', () => {
    const story = new Story();
    story.tell(login(1, 'phone', born('old')), logout(1));
    expect(story.pass(60_000).tell(will(2, 'phone', retired('old')))).toBe('stale');
  });
});
