// How often something may happen in a window of time, counted by who does it. Windows are the same for all, so that what is
// counted goes with the window, and memory has a bound.

export type QuotaLimits = { readonly max: number; readonly windowMs: number };

export type Taken = {
  readonly isOver: boolean;
  readonly remaining: number;
  /** Until the window ends, rounded up. */
  readonly resetSeconds: number;
};

/** Beyond so many the window ends early: who comes from everywhere is counted anew, and everybody else gains by it. */
const countedMax = 100_000;

export class Quota {
  readonly #limits: QuotaLimits;
  readonly #counts = new Map<string, number>();
  #endsAtMs = 0;

  constructor(limits: QuotaLimits) {
    this.#limits = limits;
  }

  take(who: string, nowMs: number): Taken {
    this.#turn(nowMs);
    const count = (this.#counts.get(who) ?? 0) + 1;
    if (count === 1 && this.#counts.size >= countedMax) this.#counts.clear();
    this.#counts.set(who, count);
    return {
      isOver: count > this.#limits.max,
      remaining: Math.max(0, this.#limits.max - count),
      resetSeconds: Math.ceil((this.#endsAtMs - nowMs) / 1_000),
    };
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#endsAtMs) return;
    this.#counts.clear();
    this.#endsAtMs = nowMs + this.#limits.windowMs;
  }
}
