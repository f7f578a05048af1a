// What a backend that prepares a login lets live at once, and how long; and for what a key speaks that is retired.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { liveSessionsMax } from '../../src/core/login.ts';
import { holdFor } from './hold-for.ts';
import { kick, lapse, login, logout, prepare, Story, will } from './story.ts';
import { ticket } from './tickets.ts';

describe('a prepared session is live before its client is heard', () => {
  test('one that was never seen has no epoch: whatever the client counts from, its birth and its will are heard', () => {
    for (const epoch of [0, 1, 1_700_000_000_000]) {
      const story = new Story();
      expect(story.tell(prepare())).toBe('applied session.started(phone@null) user.online(phone@null)');
      expect(story.tell(login(epoch))).toBe('applied');
      expect(story.state()).toBe(`online@${epoch}`);
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
    expect(story.session()).toMatchObject({ status: 'online', isUnheard: true, startedAtMs, device: { os: 'ios' } });
    expect(story.tell(will(5))).toBe('stale');
    expect(story.tell(login(5))).toBe('repeat');
    story.pass(60_000).hear(lapse);
    expect(story.state()).toBe('online@null');
    expect(story.tell(login(6))).toBe('applied');
    expect(story.state()).toBe('online@6');
  });

  test('one that has ended knows what it knew: births and wills up to its end open and end nothing', () => {
    const story = new Story();
    story.tell(login(5), logout(5));
    expect(story.tell(prepare())).toBe('applied session.started(phone@null) user.online(phone@null)');
    for (const [old, outcome] of [
      [login(4), 'stale'],
      [login(5), 'repeat'],
      [will(5), 'stale'],
      [logout(4), 'stale'],
    ] as const) {
      const before = story.session();
      expect(story.pass(1).tell(old)).toBe(outcome);
      expect(story.session()).toBe(before);
    }
  });

  test('a kick before its client is heard forgets the last connection that was', () => {
    const story = new Story();
    story.tell(login(5), logout(5), prepare());
    expect(story.tell(kick())).toBe('applied session.ended(phone@null kicked) user.offline(phone@null kicked)');
    expect(story.session()).toMatchObject({ epoch: null, forgottenEpoch: 5 });
    story.tell(prepare());
    expect(story.user.isKicked).toBe(false);
    expect(story.session()).toMatchObject({ epoch: null, forgottenEpoch: 5 });
    for (const old of [login(5), will(5), will(4)]) expect(story.tell(old)).toBe('repeat');
    expect(story.tell(login(3))).toBe('applied');
    expect(story.state()).toBe('online@3');
  });

  test('it owes no will: the first one without an epoch counts', () => {
    for (const before of [[login(1), kick()], [login(1), will(1)], [login(1), logout(1)], []]) {
      const story = new Story();
      story.tell(...before, prepare());
      expect(story.tell(will(null))).toBe('applied');
      expect(story.session()?.status).toBe('lost');
    }
  });

  test('a connection that was kicked before may owe its will, once the birth of another has taken it over', () => {
    const story = new Story();
    story.tell(login(null), kick(), prepare(), login(null));
    expect(story.pass(100).tell(will(null))).toBe('stale');
    expect(story.tell(will(null))).toBe('applied');
  });

  test('it replaces the session that was not heard of for longest, where there are as many as there may be', () => {
    const story = new Story();
    for (let n = 0; n < liveSessionsMax; n += 1) story.pass(1).tell(login(1, `device-${n}`));
    expect(story.tell(prepare('one-more'))).toBe(
      'applied session.started(one-more@null) session.ended(device-0@1 replaced)',
    );
  });
});

describe('a preparation in vain takes nothing from the client that comes later', () => {
  const over: readonly [string, (story: Story) => void][] = [
    ['lapses', (story) => story.pass(1_001).hear(lapse)],
    ['is kicked', (story) => story.hear(kick())],
    ['is heard of by a will of the whole user', (story) => story.hear(will(null, null))],
  ];

  describe.each(over)('one that %s', (_how, end) => {
    test.each([0, 1, 3])('%i times, and then waits for a client that counts from 0', (times) => {
      const story = new Story({ graceMs: 0 });
      for (let n = 0; n < times; n += 1) {
        story.pass(20_000).tell(prepare('phone', { leaseMs: 1_000 }));
        end(story);
        expect(story.state()).toBe('ended@null');
      }
      story.pass(20_000).tell(prepare());
      for (const epoch of [0, 1, 2]) {
        const births = story.tell(login(epoch));
        expect(births).toMatch(epoch === 0 ? /^applied$/u : /^applied session\.started/u);
        expect(story.state()).toBe(`online@${epoch}`);
        expect(story.tell(will(epoch))).toMatch(/^applied session\.ended/u);
      }
    });

    test('behind a connection that has ended: the next one is heard, without another preparation and with one', () => {
      for (const again of [[], [prepare()]]) {
        const story = new Story({ graceMs: 0 });
        story.tell(login(5), logout(5), prepare('phone', { leaseMs: 1_000 }));
        end(story);
        story.tell(...again, login(6));
        expect(story.state()).toBe('online@6');
        expect(story.tell(will(6))).toMatch(/^applied session\.ended\(phone@6 will\)/u);
      }
    });

    test('owes no will: a client without epochs that comes and goes within the takeover window is heard', () => {
      for (const again of [[], [prepare()]]) {
        const story = new Story({ graceMs: 0 });
        story.tell(prepare('phone', { leaseMs: 1_000 }));
        end(story);
        story.tell(...again, login(null));
        expect(story.pass(100).tell(will(null))).toMatch(/^applied session\.ended/u);
        expect(story.state()).toBe('ended@1');
      }
    });
  });

  test('whatever was prepared, lapsed and kicked before, a birth makes it online and its will ends it, with epochs and without', () => {
    const quiet = { graceMs: 0, repeatWindowMs: 0 };
    const noise = fc.array(fc.constantFrom('prepare', 'prepare for a second', 'a second', 'kick', 'kick all'));
    holdFor(
      fc.property(fc.array(noise, { maxLength: 6 }), fc.nat(2), fc.boolean(), (connections, first, isBare) => {
        const story = new Story(quiet);
        for (const [index, before] of connections.entries()) {
          for (const one of before) {
            if (one === 'a second') story.pass(1_001).hear(lapse);
            else if (one === 'kick' || one === 'kick all') story.tell(kick(one === 'kick' ? 'phone' : null));
            else story.tell(prepare('phone', one === 'prepare' ? {} : { leaseMs: 1_000 }));
          }
          const epoch = isBare ? null : first + index;
          story.tell(login(epoch));
          expect(story.session()).toMatchObject({ status: 'online', isUnheard: false });
          if (epoch !== null) expect(story.state()).toBe(`online@${epoch}`);
          expect(story.tell(will(epoch))).toMatch(/^applied session\.ended/u);
          expect(story.session()?.status).toBe('ended');
        }
      }),
      1_000,
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
