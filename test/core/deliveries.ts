// A delivery that has just begun, and an endpoint that is well: where the tests of verdicts start from.

import type { Attempt, DeliveryInHand, EndpointHealth } from '../../src/core/verdict.ts';

export const nowMs = Date.UTC(2026, 10, 23);
export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;

export const first: DeliveryInHand = {
  attempts: 0,
  refusals: 0,
  firstFailedAtMs: null,
  eventCount: 1,
  isDraining: false,
};
export const healthy: EndpointHealth = { failingSinceMs: null, lastSuccessAtMs: nowMs - minuteMs, failingLanes: 1 };

export const unanswered = (why: 'timeout' | 'connection' | 'tls' | 'blocked'): Attempt => ({
  kind: 'failed',
  why,
  status: null,
  retryAfterMs: null,
});
