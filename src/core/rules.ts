// What the settings say to a decision: how long the windows of time are. They are half open: when all of it has passed, one is over.

export type Rules = {
  readonly graceMs: number;
  readonly repeatWindowMs: number;
  readonly takeoverWindowMs: number;
  /** 0: sessions live until they end. */
  readonly leaseMs: number;
};

export function isWithin(sinceMs: number | null, windowMs: number, nowMs: number): boolean {
  // Either way: a clock that was set back must not hold a window open.
  return sinceMs !== null && Math.abs(nowMs - sinceMs) < windowMs;
}
