// Laws over anything at all: with epochs and without, kicks, lapses, redeliveries, clocks that go back. What holds for every single
// decision (sequences, times, alternation, presence, an input that stays as it was) is checked by the story at each step.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import type { Signal } from '../../src/core/signal.ts';
import { holdFor } from './hold-for.ts';
import { kick, lapse, login, logout, prepare, rules, Story, will } from './story.ts';

const name = fc.constantFrom('phone', 'tablet', 'default');
const maybeName = fc.option(name);
const epoch = fc.option(fc.nat({ max: 5 }));
const extra = fc.record({ isRedelivery: fc.constantFrom(false, false, false, true) });
/** A redelivery is known by its receipt, which only signals without an epoch have. */
const plain = ({ isRedelivery }: { isRedelivery: boolean }, of: number | null) => ({
  isRedelivery: isRedelivery && of === null,
});
const signal: fc.Arbitrary<Signal> = fc.oneof(
  fc.tuple(epoch, name, extra).map(([of, who, how]) => login(of, who, plain(how, of))),
  fc
    .tuple(epoch, maybeName, extra)
    .map(([of, who, how]) => will(of, of === null ? who : (who ?? 'default'), plain(how, of))),
  fc
    .tuple(epoch, maybeName, extra)
    .map(([of, who, how]) => logout(of, of === null ? who : (who ?? 'default'), plain(how, of))),
  maybeName.map(kick),
  fc
    .tuple(name, fc.option(fc.constantFrom(0, 60_000)))
    .map(([who, leaseMs]) => prepare(who, leaseMs === null ? {} : { leaseMs })),
  fc.constant(lapse),
);
const step = fc.record({
  signal,
  gapMs: fc.constantFrom(0, 0, 1, 999, 1_000, 4_999, 5_001, 10_000, 60_001, -1, -30_000),
  mayLapse: fc.boolean(),
});
const steps = fc.array(step, { maxLength: 40 });
const settings = fc.record({ graceMs: fc.constantFrom(0, 5_000), leaseMs: fc.constantFrom(0, 60_000) });

function run(story: Story, said: readonly { signal: Signal; gapMs: number; mayLapse: boolean }[]): Story {
  for (const { signal: one, gapMs, mayLapse } of said) story.pass(gapMs).hear(one, mayLapse);
  return story;
}

test('I7, I8: whatever is heard, every decision obeys the laws of sequence, time, alternation and presence, and changes no input', () => {
  holdFor(
    fc.property(steps, settings, (said, chosen) => {
      run(new Story(chosen), said);
    }),
    1_000,
  );
});

test('the same state, signal, moment and rules give the same decision', () => {
  holdFor(
    fc.property(steps, step, (said, last) => {
      const story = run(new Story(), said).pass(last.gapMs);
      const again = () =>
        decide(
          story.user,
          last.signal,
          { nowMs: story.nowMs, lapseUntilMs: last.mayLapse ? story.nowMs : null },
          rules,
        );
      const [first, second] = [again(), again()];
      expect(first).toEqual(second);
      expect(story.hear(last.signal, last.mayLapse)).toEqual(first);
    }),
  );
});

test('I1, I10: a message with an epoch that is heard twice changes nothing the second time, and is a repeat or stale', () => {
  holdFor(
    fc.property(steps, step, settings, (said, last, chosen) => {
      if (!('epoch' in last.signal) || last.signal.epoch === null) return;
      const story = run(new Story(chosen), said).pass(last.gapMs);
      story.hear(last.signal, last.mayLapse);
      const { user } = story;
      const second = story.hear(last.signal, last.mayLapse);
      expect(second.outcome).not.toBe('applied');
      expect(second.events).toEqual([]);
      expect(second.user).toEqual(user);
    }),
    1_000,
  );
});

test('I4, I10: a redelivery changes nothing, in any state', () => {
  holdFor(
    fc.property(steps, fc.constantFrom('login', 'will', 'logout'), name, (said, kind, who) => {
      const story = run(new Story(), said);
      const { user } = story;
      const redelivered = { login, will, logout }[kind](null, who, { isRedelivery: true });
      expect(story.hear(redelivered, false)).toEqual({ outcome: 'repeat', user, events: [] });
      expect(story.user).toBe(user);
    }),
  );
});

test('what changes nothing gives the same object back: every stale birth, every repeat but a sign of life, a lapse with nothing due', () => {
  holdFor(
    fc.property(steps, step, (said, last) => {
      const story = run(new Story(), said).pass(last.gapMs);
      const before = story.user;
      const { outcome, user, events } = story.hear(last.signal, false);
      const { kind } = last.signal;
      const isBirth = kind === 'login' || kind === 'prepare';
      const isSignOfLife = isBirth && outcome === 'repeat' && user.lastSeenAtMs === story.nowMs;
      const isOldBirth = isBirth && outcome !== 'applied' && !isSignOfLife;
      if (isOldBirth || (!isBirth && outcome === 'repeat') || kind === 'lapse') expect(user).toBe(before);
      if (outcome !== 'applied') expect(events).toEqual([]);
    }),
    1_000,
  );
});

test('I6: nothing but time ends a lost session that nobody mentions, and only when it may lapse', () => {
  holdFor(
    fc.property(steps, (said) => {
      const story = new Story();
      story.tell(login(1, 'watch'), will(1, 'watch'));
      for (const { signal: one, gapMs } of said) {
        if (one.kind !== 'lapse' && (!('sessionId' in one) || one.sessionId === null)) continue;
        story.pass(gapMs).hear(one, false);
      }
      expect(story.state('watch')).toBe('lost@1');
      story.nowMs = Math.max(story.nowMs, (story.user.lastEventAtMs ?? 0) + 5_001);
      story.hear(lapse);
      expect(story.state('watch')).toBe('ended@1');
    }),
  );
});

test('I3, I8: what is older than an end never comes back while no kick forgets it, even when the clock jumps', () => {
  holdFor(
    fc.property(steps, (said) => {
      const story = new Story();
      let endedAt = -1;
      for (const { signal: one, gapMs, mayLapse } of said) {
        if (one.kind === 'kick') continue;
        const { events } = story.pass(gapMs).hear(one, mayLapse);
        for (const { type, sessionId, epoch: at } of events) {
          if (sessionId !== 'phone' || at === null) continue;
          if (type === 'session.started') expect(at).toBeGreaterThan(endedAt);
          if (type === 'session.ended') endedAt = at;
        }
      }
    }),
  );
});
