import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectedEvents, type ModelMessage } from '../support/model.ts';
import { holdFor } from './hold-for.ts';
import { lapse, login, logout, Story, userId, will } from './story.ts';

const signals = { login, will, logout };
const gapMs = fc.constantFrom(0, 1, 2_499, 2_500, 4_999, 5_000, 5_001, 60_000);
const message = fc.record({
  kind: fc.constantFrom('login', 'will', 'logout'),
  sessionId: fc.constantFrom('phone', 'tablet', 'watch'),
  epoch: fc.nat({ max: 6 }),
  gapMs,
});

test('decide and the naive model announce the same, for any messages with epochs, with grace and without', () => {
  holdFor(
    fc.property(fc.array(message, { maxLength: 40 }), fc.constantFrom(0, 5_000), (said, graceMs) => {
      const story = new Story({ graceMs });
      const messages: ModelMessage[] = said.map(({ kind, sessionId, epoch, gapMs: ms }) => {
        story.pass(ms).hear(signals[kind](epoch, sessionId));
        return { kind, userId, sessionId, epoch, atMs: story.nowMs };
      });
      story.pass(5_001).hear(lapse);
      const told = story.events.map(({ type, userId: of, sequence, sessionId, epoch, reason }) => ({
        type,
        userId: of,
        sequence,
        sessionId,
        epoch,
        reason,
      }));
      expect(told).toEqual(expectedEvents(messages, graceMs, story.nowMs).get(userId) ?? []);
    }),
    1_000,
  );
});

test('the model knows the users apart', () => {
  const heard = { sessionId: 'phone', epoch: 1, atMs: 0 };
  const events = expectedEvents(
    [
      { ...heard, kind: 'login', userId: 'alice' },
      { ...heard, kind: 'will', userId: 'bob' },
      { ...heard, kind: 'will', userId: 'alice' },
    ],
    5_000,
    5_001,
  );
  const types = (user: string) => events.get(user)?.map(({ type }) => type);
  expect(types('alice')).toEqual(['session.started', 'user.online', 'session.ended', 'user.offline']);
  expect(types('bob')).toEqual(['session.ended', 'user.offline']);
});
