// The lanes of an old division come to their end, over days of virtual time, as LaneRun and the tables of webhooks have it: each lane sends one
// delivery after the other, and the new division waits for all of them. What an event does to the receiver is to be told from what an outage
// does, though no lane that is done can succeed any more.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  attemptOf,
  type DeliveryInHand,
  type EndpointHealth,
  evidenceOf,
  failingEndpointMsMax,
  failingEventMsMax,
  failingSinceMs,
  type Verdict,
  verdict,
} from '../../src/core/verdict.ts';
import { first, hourMs, minuteMs, nowMs as startMs } from './deliveries.ts';

const answerMs = 20;
/** Tries are at most so far apart, without a Retry-After; and what is left is still to be sent. */
const lateMs = 6 * minuteMs + 1_000;

type Lane = { readonly id: number; sent: number; delivery: DeliveryInHand; nextAtMs: number };
type End = { readonly lane: number; readonly event: number; readonly verdict: Verdict; readonly atMs: number };

const fresh: DeliveryInHand = { ...first, isDraining: true };

/** `events` of each lane; `fails` tells of every try. Returns what is not done at once: parked, or the end of all. */
function drain(options: {
  readonly events: readonly number[];
  readonly fails: (lane: number, event: number, atMs: number) => boolean;
  readonly random: number;
}): { readonly ends: readonly End[]; readonly overAtMs: number } {
  const ends: End[] = [];
  const lanes: Lane[] = options.events.map((_, id) => ({ id, sent: 0, delivery: fresh, nextAtMs: startMs }));
  let health: Omit<EndpointHealth, 'failingLanes'> = { failingSinceMs: null, lastSuccessAtMs: startMs - minuteMs };
  for (let overAtMs = startMs; ; ) {
    const left = lanes.filter(({ id, sent }) => sent < (options.events[id] ?? 0));
    const [lane] = left.toSorted((a, b) => a.nextAtMs - b.nextAtMs);
    if (lane === undefined) return { ends, overAtMs };
    const atMs = lane.nextAtMs + answerMs;
    const attempt = attemptOf(options.fails(lane.id, lane.sent, lane.nextAtMs) ? 500 : 200, null);
    const endpoint = { ...health, failingLanes: left.filter(({ delivery }) => delivery.attempts > 0).length };
    const decided = verdict(attempt, lane.delivery, endpoint, atMs, options.random);
    if (evidenceOf(attempt) === 'works') health = { failingSinceMs: null, lastSuccessAtMs: atMs };
    else health = { ...health, failingSinceMs: health.failingSinceMs ?? atMs };
    if (decided.kind === 'retry') {
      const firstFailedAtMs = failingSinceMs(lane.delivery, endpoint, atMs);
      lane.delivery = { ...lane.delivery, attempts: lane.delivery.attempts + 1, firstFailedAtMs };
      lane.nextAtMs = decided.atMs;
      continue;
    }
    overAtMs = atMs;
    if (decided.kind !== 'done') ends.push({ lane: lane.id, event: lane.sent, verdict: decided, atMs });
    if (decided.kind === 'disable') return { ends, overAtMs };
    lane.sent += 1;
    lane.delivery = fresh;
    lane.nextAtMs = atMs;
  }
}

const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const lanesOf = (minLength: number, min: number, max: number) =>
  fc.array(fc.integer({ min, max }), { minLength, maxLength: 8 });

test('an event that fails while the rest of its division comes to the end is parked after a day, and the new division begins', () => {
  fc.assert(
    fc.property(lanesOf(1, 2, 40), fc.integer({ min: 1, max: 5 }), randoms, (others, behind, random) => {
      const fails = (lane: number, event: number) => lane === 0 && event === 0;
      const { ends } = drain({ events: [behind, ...others], fails, random });
      expect(ends).toHaveLength(1);
      expect(ends[0]).toMatchObject({ lane: 0, event: 0, verdict: { kind: 'park', because: 'failed-for-a-day' } });
      expect((ends[0]?.atMs ?? 0) - startMs).toBeGreaterThanOrEqual(failingEventMsMax);
      expect((ends[0]?.atMs ?? 0) - startMs).toBeLessThanOrEqual(failingEventMsMax + lateMs);
    }),
  );
});

test('an outage that meets several lanes of the division parks nothing, however slowly the receiver recovers', () => {
  const outages = fc.record({
    // Within the time that the lanes have something to send.
    beginsMs: fc.integer({ min: 0, max: 500 }),
    // What is on its way to the other lanes is still taken: a last success may be younger than a first failure.
    staggerMs: fc.integer({ min: 0, max: 80 }),
    hours: fc.integer({ min: 1, max: 110 }),
    recoveryMs: fc.integer({ min: 0, max: 30 * minuteMs }),
  });
  fc.assert(
    fc.property(
      lanesOf(2, 60, 80),
      outages,
      fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }),
      randoms,
      (events, { beginsMs, staggerMs, hours, recoveryMs }, flapping, random) => {
        const beginsAtMs = startMs + beginsMs;
        const backAtMs = beginsAtMs + hours * hourMs;
        let tries = 0;
        const fails = (lane: number, _event: number, atMs: number) => {
          if (atMs < beginsAtMs + lane * staggerMs || atMs >= backAtMs + recoveryMs) return false;
          tries += 1;
          return atMs < backAtMs || (flapping[tries % flapping.length] ?? false);
        };
        const { ends, overAtMs } = drain({ events, fails, random });
        expect(ends).toEqual([]);
        expect(overAtMs - backAtMs - recoveryMs).toBeLessThanOrEqual(lateMs);
      },
    ),
  );
});

test('an outage that meets the last lane of the division parks nothing: nothing has succeeded since', () => {
  fc.assert(
    fc.property(
      lanesOf(0, 1, 10),
      fc.integer({ min: 1, max: 110 }),
      fc.integer({ min: 20, max: 40 }),
      randoms,
      (others, hours, event, random) => {
        const backAtMs = startMs + hours * hourMs;
        const fails = (lane: number, sent: number, atMs: number) => lane === 0 && sent >= event && atMs < backAtMs;
        const { ends, overAtMs } = drain({ events: [60, ...others], fails, random });
        expect(ends).toEqual([]);
        expect(overAtMs - backAtMs).toBeLessThanOrEqual(lateMs);
      },
    ),
  );
});

test('the price: two lanes that fail alone together are taken for an outage, and the endpoint is disabled after five days', () => {
  const fails = (lane: number, event: number) => lane < 2 && event === 0;
  const { ends } = drain({ events: [1, 1, 5, 5], fails, random: 0.5 });
  expect(ends.map((end) => end.verdict)).toEqual([{ kind: 'disable', because: 'failing' }]);
  expect((ends[0]?.atMs ?? 0) - startMs).toBeGreaterThanOrEqual(failingEndpointMsMax);
});
