// The law, precisely. Let clients tell every connection by a birth and, when it is over, by a will or a goodbye, all with epochs
// that grow with each connection of a session. Whatever the broker repeats, reorders and delays, whatever lapses in between:
// once each message was heard at least once and the deadlines lapsed, a session is online exactly when its newest connection is up.
// Of what is dropped nothing can be known: then the same holds of the messages that were heard. The law stands on this: the epoch
// of a session never decreases, so neither an end by grace between two reordered messages nor an implied end can be undone or
// done again by what is older. What reordering does change is the way there: a birth that comes after its grace has lapsed finds
// the session ended, and starts it anew. Kicks forget epochs and leases know no messages: both have laws of their own.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Signal } from '../../src/core/signal.ts';
import { type Delivery, delivered, history, type Said, truth } from './histories.ts';
import { holdFor } from './hold-for.ts';
import { kick, lapse, login, logout, Story, will } from './story.ts';

const signals = { login, will, logout };
const graceMs = fc.constantFrom(0, 5_000);
/** A history, and one way in which it is delivered: completely, or with messages dropped. */
const complete = history.chain((said) => fc.tuple(fc.constant(said), delivered(said, 1)));
const dropping = history.chain((said) => fc.tuple(fc.constant(said), delivered(said, 0)));

function deliver(
  story: Story,
  deliveries: readonly Delivery[],
  afterEach: (said: Said) => void = () => undefined,
): Story {
  for (const said of deliveries) {
    story.pass(said.gapMs).hear(signals[said.kind](said.epoch, said.session), said.mayLapse);
    afterEach(said);
  }
  story.pass(5_001).hear(lapse);
  return story;
}

function expectTruth(story: Story, said: readonly Said[]): void {
  for (const [session, { epoch, isUp }] of truth(said)) {
    expect(story.state(session), session).toBe(`${isUp ? 'online' : 'ended'}@${epoch}`);
  }
}

test('I1: a session ends at most once per epoch, whatever the broker repeats, reorders or drops', () => {
  holdFor(
    fc.property(dropping, graceMs, ([, deliveries], ms) => {
      const ends = deliver(new Story({ graceMs: ms }), deliveries).events.filter(
        ({ type }) => type === 'session.ended',
      );
      const names = ends.map(({ sessionId, epoch }) => `${sessionId}@${epoch}`);
      expect(names).toEqual([...new Set(names)]);
    }),
  );
});

test('I2: nothing with an epoch lower than that of a session ever changes it or announces anything', () => {
  holdFor(
    fc.property(dropping, graceMs, ([, deliveries], ms) => {
      const story = new Story({ graceMs: ms });
      for (const said of deliveries) {
        // Time alone first, so that what changes afterwards is the doing of the message.
        story.pass(said.gapMs).hear(lapse, said.mayLapse);
        const before = story.session(said.session);
        const { events } = story.hear(signals[said.kind](said.epoch, said.session), said.mayLapse);
        if (before === undefined || before.epoch === null || said.epoch >= before.epoch) continue;
        expect(story.session(said.session)).toBe(before);
        expect(events).toEqual([]);
      }
    }),
  );
});

test('I3: the epochs at which a session starts, and those at which it ends, only grow', () => {
  holdFor(
    fc.property(dropping, graceMs, ([, deliveries], ms) => {
      const { events } = deliver(new Story({ graceMs: ms }), deliveries);
      for (const type of ['session.started', 'session.ended'] as const) {
        for (const session of ['phone', 'tablet', 'watch']) {
          const epochs = events
            .filter((event) => event.type === type && event.sessionId === session)
            .map(({ epoch }) => epoch);
          expect(epochs).toEqual([...new Set(epochs)].sort((a, b) => Number(a) - Number(b)));
        }
      }
    }),
  );
});

test('once everything is heard, in any order, and the deadlines lapsed, a session is online exactly when its newest connection is up', () => {
  holdFor(
    fc.property(complete, graceMs, ([said, deliveries], ms) => {
      const story = deliver(new Story({ graceMs: ms }), deliveries);
      expectTruth(story, said);
      for (const [session, { epoch, isUp }] of truth(said)) {
        expect(story.ends(session).filter((end) => end.epoch === epoch)).toHaveLength(isUp ? 0 : 1);
      }
    }),
    500,
  );
});

test('when messages are dropped, the same holds of those that were heard', () => {
  holdFor(
    fc.property(dropping, graceMs, ([, deliveries], ms) => {
      expectTruth(deliver(new Story({ graceMs: ms }), deliveries), deliveries);
    }),
    500,
  );
});

test('a session whose newest connection is up is online from its birth on, at every moment', () => {
  holdFor(
    fc.property(complete, graceMs, ([said, deliveries], ms) => {
      const newest = truth(said);
      const born = new Set<string>();
      const story = new Story({ graceMs: ms });
      deliver(story, deliveries, ({ session, epoch }) => {
        if (newest.get(session)?.isUp === true && newest.get(session)?.epoch === epoch) born.add(session);
        for (const name of born) expect(story.state(name)).toBe(`online@${newest.get(name)?.epoch}`);
      });
    }),
  );
});

test('the log of a session never starts it twice in a row, and never goes back to an older epoch', () => {
  holdFor(
    fc.property(dropping, graceMs, ([, deliveries], ms) => {
      const { events } = deliver(new Story({ graceMs: ms }), deliveries);
      for (const session of ['phone', 'tablet', 'watch']) {
        const log = events.filter(({ sessionId, type }) => sessionId === session && type.startsWith('session.'));
        for (const [index, event] of log.entries()) {
          const previous = log[index - 1];
          if (event.type === 'session.started') expect(previous?.type).not.toBe('session.started');
          if (previous !== undefined) expect(Number(event.epoch)).toBeGreaterThanOrEqual(Number(previous.epoch));
        }
      }
    }),
  );
});

const kicked = fc.record({
  end: fc.constantFrom('will', 'logout', 'kick', 'kick, late will'),
  copies: fc.integer({ min: 1, max: 3 }),
  epochBack: fc.integer({ min: -1, max: 20 }),
});

test('I1, I3: after a kick a device whose clock went back comes back, and the kicked connection is over for good', () => {
  holdFor(
    fc.property(fc.array(kicked, { maxLength: 8 }), fc.constantFrom(0, 5_000), (connections, graceMs) => {
      const story = new Story({ graceMs });
      const used = new Set<number>();
      let epoch = 1_000;
      let late: number | null = null;
      /** The highest epoch that a kick made forget. */
      let forgotten: number | null = null;
      const say = (signal: Signal, copies = 1) => {
        const told = story.tell(...Array.from({ length: copies }, () => signal));
        if (forgotten === null) return told;
        // The birth of the kicked connection comes once more, whatever was said meanwhile.
        const { user } = story;
        expect(story.tell(login(forgotten))).toMatch(/^(repeat|stale)$/u);
        expect(story.user).toBe(user);
        return told;
      };
      for (const { end, copies, epochBack } of connections) {
        used.add(epoch);
        say(login(epoch), copies);
        if (late !== null) expect(say(will(late), copies)).toMatch(/^(repeat|stale)$/u);
        expect(story.state()).toBe(`online@${epoch}`);
        const isKick = end !== 'will' && end !== 'logout';
        if (isKick) forgotten = Math.max(epoch, forgotten ?? 0);
        say(isKick ? kick() : signals[end](epoch), copies);
        if (end === 'kick') expect(say(will(epoch), copies)).toBe('repeat');
        late = end === 'kick, late will' ? epoch : null;
        story.pass(5_001);
        say(lapse);
        // The clock goes back only after a kick, and meets no number twice.
        epoch = isKick ? epoch - epochBack : epoch + 1;
        while (used.has(epoch)) epoch += 1;
      }
      expect(story.ends().map((event) => event.epoch)).toEqual([...used]);
    }),
  );
});
