// What is new at the end of the log, read once for all streams of this process and told to them in its order. Positions become visible in their
// order, so what follows the position that was told last is all there is to tell next; and what retention has taken is known with the read
// that would have missed it. While nobody streams, nothing is read.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from '../runtime/logger.ts';
import { loop } from '../runtime/loop.ts';
import { type Frame, framesAfter, LogPages, type LogPorts } from './log-pages.ts';

export type FeedListener = {
  /** What is new at the end of the log, which was told up to `before` until now. */
  readonly onFrames: (frames: readonly Frame[], before: number) => void;
  /** Retention has taken some of what was not told yet, up to this position. */
  readonly onGone: (upTo: number) => void;
  /** The log ends before what was told: the database is an older one. */
  readonly onAhead: (head: number) => void;
  /** Something was erased. */
  readonly onErased: () => void;
};

/** A process that has not read the log for so long does not know what is new. */
const feedLimits = { currentMsMax: 5_000 };
/** How late a commit is noticed when its hint was lost. */
const pollMs = 500;
/** Between two reads of the end: telling thousands of streams takes a third of the time, while nobody waits for long. */
const restMs = { min: 10, max: 50, factor: 2 };
const backOff = { firstMs: 50, lastMs: 2_000 };

export class LogFeed {
  /** For those who are behind. */
  readonly pages: LogPages;
  readonly #currentMsMax: number;
  readonly #listeners: FeedListener[] = [];
  /** Told up to here. */
  #position = 0;
  #readers = 0;
  #told = Promise.withResolvers<void>();
  #hinted = Promise.withResolvers<void>();
  /** When all was out last, and how long that took. */
  #lastTold = { atMs: Number.NEGATIVE_INFINITY, tookMs: 0 };

  constructor(ports: LogPorts, { currentMsMax } = feedLimits) {
    this.pages = new LogPages(ports);
    this.#currentMsMax = currentMsMax;
  }

  get position(): number {
    return this.#position;
  }

  get head(): number {
    return this.pages.head;
  }

  /** Whether the end of the log was read a moment ago: nothing is new but what was told. */
  get isCurrent(): boolean {
    return this.pages.ageMs < this.#currentMsMax;
  }

  listen(listener: FeedListener): void {
    this.#listeners.push(listener);
  }

  /** There may be something new. */
  hint(): void {
    this.#hinted.resolve();
  }

  /** Something was erased: what is kept of the log is read anew. */
  forget(): void {
    this.pages.clear();
    for (const { onErased } of this.#listeners) onErased();
  }

  /** One more stream, which knows that the log ends at `head`, or behind it. Until it leaves, what is new is told. */
  join(head: number): void {
    this.#readers += 1;
    if (this.#readers > 1) return;
    // Nobody was told anything since the last one left.
    this.#position = head;
    this.hint();
  }

  leave(): void {
    this.#readers -= 1;
    if (this.#readers === 0) this.pages.clear();
  }

  /** Resolves when more has been told. */
  async told(): Promise<void> {
    await this.#told.promise;
  }

  /** Tells what is new until the signal aborts. */
  async run(signal: AbortSignal, options: { readonly logger: Logger; readonly onSuccess: () => void }): Promise<void> {
    const step = async (): Promise<number> => {
      this.#hinted = Promise.withResolvers<void>();
      const fromMs = performance.now();
      if (this.#readers > 0 && (await this.#tellNext())) {
        // What was written in this turn of the event loop goes out at its end.
        const toldAtMs = performance.now();
        await nextTurn();
        const atMs = performance.now();
        this.#lastTold = { atMs, tookMs: atMs - toldAtMs };
      }
      const tookMs = performance.now() - fromMs;
      if (this.#readers > 0 && this.#position < this.head) return Math.ceil(Math.min(restMs.max, tookMs));
      await this.#hinted.promise;
      return this.#restLeftMs();
    };
    const poll = setInterval(() => this.hint(), pollMs);
    signal.addEventListener('abort', () => this.hint(), { once: true });
    await loop(step, { name: 'streams', signal, backOff, ...options });
    clearInterval(poll);
  }

  #restLeftMs(): number {
    const { atMs, tookMs } = this.#lastTold;
    const wantedMs = Math.min(restMs.max, Math.max(restMs.min, restMs.factor * tookMs));
    return Math.max(0, Math.ceil(wantedMs - (performance.now() - atMs)));
  }

  /** Whether anything was new. */
  async #tellNext(): Promise<boolean> {
    const asked = this.#position;
    const page = await this.pages.newestAfter(asked);
    const before = this.#position;
    if (this.head < asked && before === asked) {
      this.#position = this.head;
      for (const { onAhead } of this.#listeners) onAhead(this.head);
      return false;
    }
    if (page.goneUpTo > before) for (const { onGone } of this.#listeners) onGone(page.goneUpTo);
    if (page.upTo <= before) return false;
    this.#position = page.upTo;
    const frames = framesAfter(page, before);
    for (const { onFrames } of this.#listeners) onFrames(frames, before);
    const { resolve } = this.#told;
    this.#told = Promise.withResolvers<void>();
    resolve();
    return true;
  }
}
