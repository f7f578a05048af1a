// The log, read once for all streams of this process, from its end for those that are there and in pages for those that are behind. Each event
// is rendered once. Positions become visible in their order, so what follows the position that was told last is all there is to tell next;
// and what retention has taken is known with the read that would have missed it. While nobody streams, nothing is read.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { atMost } from '../runtime/at-most.ts';
import type { Logger } from '../runtime/logger.ts';
import { loop } from '../runtime/loop.ts';
import { eventBody, type LoggedEvent } from './render.ts';

/** The events after a position and up to another one, where the log ends and up to where it may be gone: all of one moment. */
export type LogPort = (after: number, upTo: number) => Promise<LogStretch>;

export type LogStretch = {
  readonly head: number;
  readonly trimmed: number;
  readonly events: readonly LoggedEvent[];
};

/** An event as a block of a stream. */
export type Frame = {
  readonly position: number;
  readonly userId: string;
  readonly type: LoggedEvent['type'];
  readonly text: string;
};

export type LogPage = {
  readonly start: number;
  readonly end: number;
  /** All of the log is here from `goneUpTo` to there. */
  upTo: number;
  goneUpTo: number;
  frames: readonly Frame[];
  /** Of all frames. */
  characters: number;
  /** The whole page, once somebody who wants all of it has asked. */
  bytes: Buffer | null;
  loading: Promise<void> | null;
};

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

const pageEvents = 256;
/** Of pages that are kept for those who come after; a page has some 50 KB, and with large devices half a MB. */
const pagesBytesMax = 32 * 1024 * 1024;
/** Of the pool, which others need too: for those who are behind, and for those who begin. The end of the log waits for neither. */
const loadsMax = { pages: 2, ends: 1 };
/** A process that has not read the log for so long does not know what is new. */
const feedLimits = { currentMsMax: 5_000 };
/** How late a commit is noticed when its hint was lost. */
const pollMs = 500;
/** Between two reads of the end: telling thousands of streams takes a third of the time, while nobody waits for long. */
const restMs = { min: 10, max: 50, factor: 2 };
const backOff = { firstMs: 50, lastMs: 2_000 };

export class LogFeed {
  readonly #read: LogPort;
  readonly #currentMsMax: number;
  readonly #listeners: FeedListener[] = [];
  readonly #pages = new Map<number, LogPage>();
  /** Told up to here. */
  #position = 0;
  #head = 0;
  #readers = 0;
  #readAtMs = Number.NEGATIVE_INFINITY;
  readonly #loads = { pages: atMost(loadsMax.pages), ends: atMost(loadsMax.ends) };
  #told = Promise.withResolvers<void>();
  #hinted = Promise.withResolvers<void>();
  /** When all was out last, and how long that took. */
  #lastTold = { atMs: Number.NEGATIVE_INFINITY, tookMs: 0 };

  constructor(read: LogPort, { currentMsMax } = feedLimits) {
    this.#read = read;
    this.#currentMsMax = currentMsMax;
  }

  get position(): number {
    return this.#position;
  }

  get head(): number {
    return this.#head;
  }

  /** Of the log, what is kept for those who come after. */
  get keptBytes(): number {
    let bytes = 0;
    for (const page of this.#pages.values()) bytes += bytesOfPage(page);
    return bytes;
  }

  /** Whether the end of the log was read a moment ago: nothing is new but what was told. */
  get isCurrent(): boolean {
    return performance.now() - this.#readAtMs < this.#currentMsMax;
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
    this.#pages.clear();
    for (const { onErased } of this.#listeners) onErased();
  }

  /** The ends of the log, as they are now. */
  async ends(): Promise<{ readonly head: number; readonly trimmed: number }> {
    const { head, trimmed } = await this.#loads.ends(() => this.#load(0, 0));
    return { head, trimmed };
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
    if (this.#readers === 0) this.#pages.clear();
  }

  /** The page that has what follows a position, once it has something of it, or the log ends there. */
  async pageAfter(position: number): Promise<LogPage> {
    const page = this.#pageOf(position);
    if (page.upTo <= position || (page.upTo < page.end && page.upTo < this.#head)) {
      await this.#loads.pages(() => this.#extend(page));
    }
    return page;
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
      if (this.#readers > 0 && this.#position < this.#head) return Math.ceil(Math.min(restMs.max, tookMs));
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
    const page = this.#pageOf(asked);
    await this.#extend(page);
    const before = this.#position;
    if (this.#head < asked && before === asked) {
      this.#position = this.#head;
      for (const { onAhead } of this.#listeners) onAhead(this.#head);
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

  #pageOf(position: number): LogPage {
    const start = Math.floor(position / pageEvents) * pageEvents;
    const page = this.#pages.get(start) ?? emptyPage(start);
    // The one that was used last goes last.
    this.#pages.delete(start);
    this.#pages.set(start, page);
    let bytes = this.keptBytes;
    for (const [oldest, kept] of this.#pages) {
      if (bytes <= pagesBytesMax || kept === page) break;
      this.#pages.delete(oldest);
      bytes -= bytesOfPage(kept);
    }
    return page;
  }

  /** Reads what the page does not have yet; those who ask meanwhile wait for the same answer. */
  async #extend(page: LogPage): Promise<void> {
    page.loading ??= this.#fill(page).finally(() => {
      page.loading = null;
    });
    await page.loading;
  }

  async #fill(page: LogPage): Promise<void> {
    if (page.upTo >= page.end) return;
    const from = page.upTo;
    const { head, trimmed, events } = await this.#load(from, page.end);
    if (trimmed > from) page.goneUpTo = trimmed;
    const frames = events.map(frameOf);
    page.frames = page.frames.concat(frames);
    for (const { text } of frames) page.characters += text.length;
    page.upTo = Math.max(from, Math.min(page.end, head));
  }

  async #load(after: number, upTo: number): Promise<LogStretch> {
    const known = this.#head;
    const stretch = await this.#read(after, upTo);
    // An answer that was asked for before another one may come after it; smaller than what was known before, the log is another one.
    if (stretch.head < known) this.#pages.clear();
    this.#head = stretch.head < known ? stretch.head : Math.max(this.#head, stretch.head);
    this.#readAtMs = performance.now();
    return stretch;
  }
}

function emptyPage(start: number): LogPage {
  return {
    start,
    end: start + pageEvents,
    upTo: start,
    goneUpTo: 0,
    frames: [],
    characters: 0,
    bytes: null,
    loading: null,
  };
}

/** Positions are in their order. */
export function framesAfter({ frames }: LogPage, position: number): readonly Frame[] {
  const first = frames.findIndex((frame) => frame.position > position);
  return first === -1 ? [] : frames.slice(first);
}

function frameOf(event: LoggedEvent): Frame {
  const { position, userId, type } = event;
  return { position, userId, type, text: `id: ${position}\ndata: ${JSON.stringify(eventBody(event))}\n\n` };
}

/** As it is kept: a text takes a byte or two a character. */
function bytesOfPage({ characters, bytes }: LogPage): number {
  return 2 * characters + (bytes?.length ?? 0);
}
