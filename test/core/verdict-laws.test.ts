// What holds for every delivery, whatever its receiver answers, over days of virtual time.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Attempt,
  attemptOf,
  type DeliveryInHand,
  type EndpointHealth,
  evidenceOf,
  failingEndpointMsMax,
  failingEventMsMax,
  failingSinceMs,
  retryScheduleMs,
  type Verdict,
  verdict,
} from '../../src/core/verdict.ts';
import { first, healthy, hourMs, minuteMs, nowMs, unanswered } from './deliveries.ts';

const outage = attemptOf(503, null);

const statuses = fc.integer({ min: 200, max: 999 });
const attempts = fc.oneof(
  fc
    .tuple(statuses, fc.option(fc.integer({ min: 0, max: 10 * hourMs })))
    .map(([status, retryAfterMs]) => attemptOf(status, retryAfterMs)),
  fc.constantFrom('timeout' as const, 'connection' as const, 'tls' as const, 'blocked' as const).map(unanswered),
);
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const pastMs = fc.option(fc.integer({ min: nowMs - 10 * 24 * hourMs, max: nowMs }));

describe('whatever happens', () => {
  test('a retry lies in the future, within twice the schedule', () => {
    const deliveries = fc.record({
      attempts: fc.nat(5_000),
      refusals: fc.nat(3),
      isDraining: fc.boolean(),
      firstFailedAtMs: pastMs,
      eventCount: fc.integer({ min: 1, max: 1_000 }),
    });
    const endpoints = fc.record({ failingSinceMs: pastMs, lastSuccessAtMs: pastMs, failingLanes: fc.nat(64) });
    fc.assert(
      fc.property(attempts, deliveries, endpoints, randoms, (attempt, delivery, endpoint, random) => {
        const decided = verdict(attempt, delivery, endpoint, nowMs, random);
        if (decided.kind !== 'retry') return;
        const scheduledMs = retryScheduleMs[Math.min(delivery.attempts, 3)] ?? 0;
        expect(decided.atMs).toBeGreaterThanOrEqual(nowMs + 0.8 * scheduledMs);
        expect(decided.atMs).toBeLessThanOrEqual(nowMs + 2 * scheduledMs);
      }),
    );
  });

  test('only a batch is split, and only a single event parked', () => {
    fc.assert(
      fc.property(
        attempts,
        fc.integer({ min: 1, max: 5 }),
        fc.nat(10),
        randoms,
        (attempt, eventCount, tries, random) => {
          const delivery = {
            ...first,
            attempts: tries,
            refusals: tries,
            firstFailedAtMs: nowMs - 30 * hourMs,
            eventCount,
          };
          const decided = verdict(attempt, delivery, healthy, nowMs, random);
          if (decided.kind === 'split') expect(eventCount).toBeGreaterThan(1);
          if (decided.kind === 'park') expect(eventCount).toBe(1);
        },
      ),
    );
  });
});

/** One delivery over virtual time, on an endpoint whose other lanes do as `othersSucceed` says. */
function deliver(options: {
  readonly answer: (atMs: number, tryNumber: number) => Attempt;
  readonly othersSucceed: (atMs: number) => boolean;
  readonly eventCount: number;
  readonly random: number;
}): { readonly verdict: Verdict; readonly atMs: number; readonly tries: number } {
  let atMs = nowMs;
  let delivery: DeliveryInHand = { ...first, eventCount: options.eventCount };
  let endpoint: EndpointHealth = healthy;
  for (let tries = 1; tries <= 10_000; tries += 1) {
    if (options.othersSucceed(atMs)) endpoint = { failingSinceMs: null, lastSuccessAtMs: atMs - 1, failingLanes: 1 };
    const attempt = options.answer(atMs, tries);
    const decided = verdict(attempt, delivery, endpoint, atMs, options.random);
    if (decided.kind !== 'retry') return { verdict: decided, atMs, tries };
    const firstFailedAtMs = failingSinceMs(delivery, endpoint, atMs);
    const refusals = delivery.refusals + Number(attempt.kind === 'refused');
    delivery = { ...delivery, attempts: delivery.attempts + 1, refusals, firstFailedAtMs };
    if (evidenceOf(attempt) === 'fails') {
      endpoint = { ...endpoint, failingSinceMs: endpoint.failingSinceMs ?? atMs };
    }
    atMs = decided.atMs;
  }
  throw new Error('a delivery went on for ever');
}

describe('over days', () => {
  const lateMs = 10 * minuteMs;

  test('an event that always fails while others succeed is parked within a day', () => {
    fc.assert(
      fc.property(attempts, randoms, (attempt, random) => {
        fc.pre(attempt.kind === 'failed');
        const end = deliver({ answer: () => attempt, othersSucceed: () => true, eventCount: 1, random });
        expect(end.verdict).toEqual({ kind: 'park', because: 'failed-for-a-day' });
        expect(end.atMs - nowMs).toBeGreaterThanOrEqual(failingEventMsMax);
        expect(end.atMs - nowMs).toBeLessThanOrEqual(failingEventMsMax + lateMs);
      }),
    );
  });

  test('where nothing succeeds the endpoint is disabled after five days', () => {
    fc.assert(
      fc.property(attempts, randoms, fc.integer({ min: 1, max: 3 }), (attempt, random, eventCount) => {
        fc.pre(attempt.kind === 'failed');
        const end = deliver({ answer: () => attempt, othersSucceed: () => false, eventCount, random });
        expect(end.verdict).toEqual({ kind: 'disable', because: 'failing' });
        expect(end.atMs - nowMs).toBeGreaterThanOrEqual(failingEndpointMsMax);
        expect(end.atMs - nowMs).toBeLessThanOrEqual(failingEndpointMsMax + lateMs);
      }),
    );
  });

  test('every delivery ends, whatever mixture of answers it meets', () => {
    fc.assert(
      fc.property(
        fc.array(attempts, { minLength: 1, maxLength: 30 }),
        randoms,
        fc.boolean(),
        (mixture, random, others) => {
          const answer = (_atMs: number, tries: number) => mixture[tries % mixture.length] ?? outage;
          const end = deliver({ answer, othersSucceed: () => others, eventCount: 1, random });
          expect(end.atMs - nowMs).toBeLessThanOrEqual(failingEndpointMsMax + lateMs);
        },
      ),
    );
  });

  test('a receiver that is away for 72 hours loses nothing, wherever its last success fell', () => {
    fc.assert(
      fc.property(
        randoms,
        fc.integer({ min: 0, max: 10 * minuteMs }),
        fc.integer({ min: 1, max: 3 }),
        (random, lastMs, n) => {
          const backAtMs = nowMs + 72 * hourMs;
          const end = deliver({
            answer: (atMs) => (atMs < backAtMs ? outage : attemptOf(200, null)),
            // Other lanes still succeed for a moment after this one failed first: the outage is not this event's fault.
            othersSucceed: (atMs) => atMs <= nowMs + lastMs,
            eventCount: n,
            random,
          });
          expect(end.verdict).toEqual({ kind: 'done' });
          expect(end.atMs - backAtMs).toBeLessThanOrEqual(lateMs);
        },
      ),
    );
  });
});
