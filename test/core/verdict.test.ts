// What becomes of a delivery: every kind of attempt, and what follows from it.

import { describe, expect, test } from 'vitest';
import {
  type Attempt,
  attemptOf,
  type DeliveryInHand,
  type EndpointHealth,
  evidenceOf,
  failingEndpointMsMax,
  failingEventMsMax,
  refusedTriesMax,
  retryScheduleMs,
  type Verdict,
  verdict,
} from '../../src/core/verdict.ts';
import { first, healthy, hourMs, minuteMs, nowMs, unanswered } from './deliveries.ts';

const middle = 0.5;

const batch: DeliveryInHand = { ...first, eventCount: 7 };
const outage = attemptOf(503, null);

describe('what an answer means', () => {
  test.each<[number, Attempt['kind']]>([
    [200, 'delivered'],
    [204, 'delivered'],
    [299, 'delivered'],
    [300, 'failed'],
    [301, 'failed'],
    [308, 'failed'],
    [400, 'refused'],
    [401, 'failed'],
    [403, 'failed'],
    [404, 'failed'],
    [410, 'gone'],
    [413, 'refused'],
    [422, 'refused'],
    [429, 'failed'],
    [500, 'failed'],
    [503, 'failed'],
    [999, 'failed'],
  ])('%i means %s', (status, kind) => {
    expect(attemptOf(status, null).kind).toBe(kind);
  });

  test('only a failure says anything bad of its endpoint, and only a delivery anything good', () => {
    expect(evidenceOf(attemptOf(200, null))).toBe('works');
    expect(evidenceOf(outage)).toBe('fails');
    expect(evidenceOf(unanswered('blocked'))).toBe('fails');
    expect(evidenceOf(attemptOf(422, null))).toBe('neither');
    expect(evidenceOf(attemptOf(410, null))).toBe('neither');
  });
});

describe('what follows from an attempt', () => {
  const longAgo: DeliveryInHand = { ...first, attempts: 300, firstFailedAtMs: nowMs - failingEventMsMax };
  const failing = (forMs: number): EndpointHealth => ({
    failingSinceMs: nowMs - forMs,
    lastSuccessAtMs: null,
    failingLanes: 8,
  });
  const cases: [string, Attempt, DeliveryInHand, EndpointHealth, Verdict][] = [
    ['an event that was taken is done', attemptOf(202, null), first, healthy, { kind: 'done' }],
    ['a batch that was taken is done', attemptOf(200, null), batch, healthy, { kind: 'done' }],
    ['410 disables at once', attemptOf(410, null), first, healthy, { kind: 'disable', because: 'gone' }],
    ['410 for a batch disables', attemptOf(410, null), batch, healthy, { kind: 'disable', because: 'gone' }],
    [
      'a refused event is tried again',
      attemptOf(400, null),
      first,
      healthy,
      { kind: 'retry', atMs: nowMs + retryScheduleMs[0] },
    ],
    [
      'and once more',
      attemptOf(422, null),
      { ...first, attempts: 1 },
      healthy,
      { kind: 'retry', atMs: nowMs + retryScheduleMs[1] },
    ],
    [
      'a third refusal parks',
      attemptOf(413, null),
      { ...first, attempts: refusedTriesMax - 1, refusals: refusedTriesMax - 1 },
      healthy,
      { kind: 'park', because: 'refused' },
    ],
    ['a refused batch is split', attemptOf(400, null), batch, healthy, { kind: 'split' }],
    ['a refused batch is split even late', attemptOf(400, null), { ...batch, attempts: 9 }, healthy, { kind: 'split' }],
    [
      'an event that failed for a day while others succeed is parked',
      outage,
      longAgo,
      healthy,
      { kind: 'park', because: 'failed-for-a-day' },
    ],
    ['a batch that did is split', outage, { ...longAgo, eventCount: 2 }, healthy, { kind: 'split' }],
    [
      'a moment less than a day is no day',
      outage,
      { ...longAgo, firstFailedAtMs: nowMs - failingEventMsMax + 1 },
      healthy,
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
    [
      'in an outage an event waits for longer than a day',
      outage,
      { ...longAgo, firstFailedAtMs: nowMs - 72 * hourMs },
      failing(72 * hourMs),
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
    [
      'also when another lane had a last success after this event first failed',
      outage,
      { ...longAgo, firstFailedAtMs: nowMs - 72 * hourMs },
      { failingSinceMs: nowMs - 71 * hourMs, lastSuccessAtMs: nowMs - 71 * hourMs - 1, failingLanes: 8 },
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
    [
      'five days of failing disable',
      unanswered('connection'),
      longAgo,
      failing(failingEndpointMsMax),
      { kind: 'disable', because: 'failing' },
    ],
    [
      'a moment less does not',
      unanswered('timeout'),
      longAgo,
      failing(failingEndpointMsMax - 1),
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
    [
      'a refusal disables nothing',
      attemptOf(400, null),
      { ...first, attempts: 5, refusals: 2 },
      failing(failingEndpointMsMax),
      { kind: 'park', because: 'refused' },
    ],
    [
      'a refusal after an outage is the first of three',
      attemptOf(400, null),
      { ...first, attempts: 9 },
      healthy,
      { kind: 'retry', atMs: nowMs + 5 * minuteMs },
    ],
    [
      'one failure after days on which nothing was tried disables nothing',
      attemptOf(503, null),
      first,
      failing(failingEndpointMsMax + hourMs),
      { kind: 'retry', atMs: nowMs + 5_000 },
    ],
    [
      'an event on which the other lanes of its endpoint wait is parked after a day, though nothing can succeed meanwhile',
      attemptOf(503, null),
      { ...longAgo, isDraining: true },
      { failingSinceMs: null, lastSuccessAtMs: nowMs - failingEventMsMax + minuteMs, failingLanes: 1 },
      { kind: 'park', because: 'failed-for-a-day' },
    ],
    [
      'but not when another lane fails with it: in an outage all do',
      outage,
      { ...longAgo, isDraining: true },
      { failingSinceMs: null, lastSuccessAtMs: nowMs - failingEventMsMax + minuteMs, failingLanes: 2 },
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
    [
      'nor when nothing has succeeded since it first failed',
      outage,
      { ...longAgo, isDraining: true },
      { failingSinceMs: null, lastSuccessAtMs: nowMs - failingEventMsMax, failingLanes: 1 },
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
    [
      'an event on which nobody waits has to meet a success of the last hour',
      outage,
      longAgo,
      { failingSinceMs: null, lastSuccessAtMs: nowMs - failingEventMsMax + minuteMs, failingLanes: 1 },
      { kind: 'retry', atMs: nowMs + retryScheduleMs[3] },
    ],
  ];
  test.each(cases)('%s', (_name, attempt, delivery, endpoint, expected) => {
    expect(verdict(attempt, delivery, endpoint, nowMs, middle)).toEqual(expected);
  });

  test.each([
    [0, 5_000],
    [1, 30_000],
    [2, 120_000],
    [3, 300_000],
    [4, 300_000],
    [1_000, 300_000],
  ])('after %i failures the wait is %i ms', (failures, waitMs) => {
    const delivery = { ...first, attempts: failures };
    expect(verdict(outage, delivery, healthy, nowMs, middle)).toEqual({ kind: 'retry', atMs: nowMs + waitMs });
  });

  test.each([
    ['less than the schedule', 1_000, 5_000],
    ['more than the schedule', 7_000, 7_000],
    ['more than twice the schedule', hourMs, 10_000],
  ])('Retry-After of %s', (_name, retryAfterMs, waitMs) => {
    const decided = verdict(attemptOf(429, retryAfterMs), first, healthy, nowMs, middle);
    expect(decided).toEqual({ kind: 'retry', atMs: nowMs + waitMs });
  });
});
