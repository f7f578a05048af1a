// Which traces are sent: the same in every process, as many as were asked for, and whoever they are of.

import { expect, test } from 'vitest';
import type { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { type Happening, Sampling } from '../../src/tracing/sampling.ts';
import { rootOf } from '../../src/tracing/trace-ids.ts';

const count = 40_000;

/** `what` varies; all else is the same. */
function happeningsOf(what: 'user' | 'session' | 'epoch' | 'time'): readonly Happening[] {
  return Array.from({ length: count }, (_, index) => ({
    phase: 'end' as const,
    userId: (what === 'user' ? `user-${index}` : 'user') as UserId,
    sessionId: (what === 'session' ? `session-${index}` : 'session') as SessionId,
    epoch: what === 'time' ? null : ((what === 'epoch' ? 1_790_000_000_000 + index : 1) as Epoch),
    atMs: what === 'time' ? 1_790_000_000_000 + index : 0,
  }));
}

test.each(['user', 'session', 'epoch', 'time'] as const)(
  'of many that differ by their %s alone, the part that was asked for is sampled',
  (what) => {
    const happenings = happeningsOf(what);
    for (const ratio of [0.01, 0.1, 0.5]) {
      const sampling = new Sampling('the key', ratio);
      const part = happenings.filter((happening) => sampling.has(happening)).length / count;
      // Six standard deviations.
      expect(Math.abs(part - ratio)).toBeLessThan(6 * Math.sqrt((ratio * (1 - ratio)) / count));
    }
  },
);

test('what is one trace is sampled as one, in every process that has the key; another key samples others', () => {
  const [one, other] = [new Sampling('the key', 0.5), new Sampling('the key', 0.5)];
  const foreign = new Sampling('another key', 0.5);
  let agreed = 0;
  for (const happening of happeningsOf('epoch')) {
    const later = { ...happening, atMs: 5 };
    expect(rootOf('the key', later)).toEqual(rootOf('the key', happening));
    expect(other.has(later)).toBe(one.has(happening));
    if (foreign.has(happening) === one.has(happening)) agreed += 1;
  }
  expect(Math.abs(agreed / count - 0.5)).toBeLessThan(0.02);
});

test('all or nothing is all or nothing', () => {
  const happenings = happeningsOf('user');
  expect(happenings.every((happening) => new Sampling('k', 1).has(happening))).toBe(true);
  expect(happenings.some((happening) => new Sampling('k', 0).has(happening))).toBe(false);
});
