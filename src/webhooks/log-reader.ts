// The log, read once for all lanes of this process: in pages that are kept for a while, so that lanes that are about equally far share them,
// whether they follow the end of the log or catch up from far behind. A hint wakes it; what it promises rests on asking again and again.

import type { Logger } from '../runtime/logger.ts';
import { loop } from '../runtime/loop.ts';
import { type LogEvent, laneOf } from './message.ts';

export type LogPort = (
  after: number,
  upTo: number,
) => Promise<{ readonly head: number; readonly events: readonly LogEvent[] }>;

/** All events of one lane after a position and up to `upTo` that the log has. */
export type LaneSlice = { readonly events: readonly LogEvent[]; readonly upTo: number };

/** One of so many lanes that share the users. */
export type LaneOf = { readonly lane: number; readonly of: number };

const pageEvents = 500;
/** Some 16 MB at half a kilobyte an event. */
const pagesMax = 64;
/** How late a commit is noticed when its hint was lost. */
const pollMs = 500;
const backOff = { firstMs: 50, lastMs: 2_000 };

type Page = {
  readonly start: number;
  readonly end: number;
  upTo: number;
  events: LogEvent[];
  /** By the number of lanes: the events of each. Made once for all endpoints that have as many. */
  readonly divisions: Map<number, readonly LogEvent[][]>;
  loading: Promise<void> | null;
};

export class LogReader {
  readonly #read: LogPort;
  readonly #pages = new Map<number, Page>();
  /** The page that was used last. */
  #page: Page | null = null;
  #head = 0;
  #changed = Promise.withResolvers<void>();
  #hinted = Promise.withResolvers<void>();

  constructor(read: LogPort) {
    this.#read = read;
  }

  /** The newest position that is known of. */
  get head(): number {
    return this.#head;
  }

  /** There may be something new. */
  hint(): void {
    this.#hinted.resolve();
  }

  /** Something was erased: what is kept of the log is read anew. */
  forget(): void {
    this.#pages.clear();
    this.#page = null;
  }

  /** Resolves when the log has grown beyond a position, or when somebody is to look again: at its signal, for one. */
  async grown(position: number, signal: AbortSignal): Promise<void> {
    if (this.#head <= position && !signal.aborted) await this.#changed.promise;
  }

  /** Lets all who wait for the log to grow look again. */
  wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }

  /** What follows a position in a lane: at most what a page has; up to the position itself at the end of the log, as far as it is known. */
  after(position: number, lane: LaneOf): LaneSlice | Promise<LaneSlice> {
    if (position >= this.#head) return { events: [], upTo: position };
    const page = this.#pageAfter(position);
    const isShort = page.upTo <= position || (page.upTo < page.end && page.upTo < this.#head);
    return isShort ? this.#extend(page).then(() => sliceOf(page, position, lane)) : sliceOf(page, position, lane);
  }

  /** Follows the end of the log until the signal aborts. */
  async run(signal: AbortSignal, options: { readonly logger: Logger; readonly onSuccess: () => void }): Promise<void> {
    const step = async (): Promise<number> => {
      this.#hinted = Promise.withResolvers<void>();
      await this.#extend(this.#pageAfter(this.#head));
      await this.#hinted.promise;
      return 0;
    };
    const poll = setInterval(() => this.hint(), pollMs);
    signal.addEventListener('abort', () => this.hint(), { once: true });
    await loop(step, { name: 'log', signal, backOff, ...options });
    clearInterval(poll);
  }

  #pageAfter(position: number): Page {
    const start = Math.floor(position / pageEvents) * pageEvents;
    if (this.#page?.start === start) return this.#page;
    const page = this.#pages.get(start) ?? emptyPage(start);
    this.#page = page;
    // The one that was used last goes last.
    this.#pages.delete(start);
    this.#pages.set(start, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= pagesMax) break;
      this.#pages.delete(oldest);
    }
    return page;
  }

  /** Reads what the page does not have yet; those who ask meanwhile wait for the same answer. */
  async #extend(page: Page): Promise<void> {
    page.loading ??= this.#load(page).finally(() => {
      page.loading = null;
    });
    await page.loading;
  }

  async #load(page: Page): Promise<void> {
    if (page.upTo >= page.end) return;
    const { head, events } = await this.#read(page.upTo, page.end);
    page.events = page.events.concat(events);
    for (const [of, lanes] of page.divisions) divide(events, of, lanes);
    page.upTo = Math.max(page.upTo, Math.min(page.end, head));
    if (head <= this.#head) return;
    this.#head = head;
    this.wake();
  }
}

function emptyPage(start: number): Page {
  return { start, end: start + pageEvents, upTo: start, events: [], divisions: new Map(), loading: null };
}

function sliceOf(page: Page, position: number, { lane, of }: LaneOf): LaneSlice {
  if (page.upTo <= position) return { events: [], upTo: position };
  let lanes = page.divisions.get(of);
  if (lanes === undefined) {
    lanes = Array.from({ length: of }, () => []);
    divide(page.events, of, lanes);
    page.divisions.set(of, lanes);
  }
  const own = lanes[lane] ?? [];
  return { events: own.slice(indexAfter(own, position)), upTo: page.upTo };
}

function divide(events: readonly LogEvent[], of: number, lanes: readonly LogEvent[][]): void {
  for (const event of events) lanes[laneOf(event.userId, of)]?.push(event);
}

/** Events are in the order of their positions. */
function indexAfter(events: readonly LogEvent[], position: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((events[middle]?.position ?? 0) > position) high = middle;
    else low = middle + 1;
  }
  return low;
}
