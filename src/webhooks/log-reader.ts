// The log, read once for all lanes of this process: in pages that are kept for a while, so that lanes that are about equally far share them,
// whether they follow the end of the log or catch up from far behind. A hint wakes it; what it promises rests on asking again and again.

import type { Logger } from '../runtime/logger.ts';
import { loop, pause } from '../runtime/loop.ts';
import type { LogEvent } from './message.ts';

export type LogPort = (
  after: number,
  upTo: number,
) => Promise<{ readonly head: number; readonly events: readonly LogEvent[] }>;

/** All events after a position and up to `upTo` that the log has. */
export type LogSlice = { readonly events: readonly LogEvent[]; readonly upTo: number };

const pageEvents = 500;
/** Some 16 MB at half a kilobyte an event. */
const pagesMax = 64;
/** How late a commit is noticed when its hint was lost. */
const pollMs = 500;
const backOff = { firstMs: 50, lastMs: 2_000 };

type Page = { readonly end: number; upTo: number; events: LogEvent[]; loading: Promise<void> | null };

export class LogReader {
  readonly #read: LogPort;
  readonly #pages = new Map<number, Page>();
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

  /** Resolves when the log has grown beyond a position, or the signal aborts. */
  async grown(position: number, signal: AbortSignal): Promise<void> {
    if (this.#head > position || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    signal.addEventListener('abort', onAbort);
    while (this.#head <= position && !signal.aborted) await Promise.race([this.#changed.promise, promise]);
    signal.removeEventListener('abort', onAbort);
  }

  /** What follows a position: at most a page; up to the position itself at the end of the log. */
  async after(position: number): Promise<LogSlice> {
    const page = this.#pageAfter(position);
    if (page.upTo <= position || (page.upTo < page.end && page.upTo < this.#head)) await this.#extend(page);
    if (page.upTo <= position) return { events: [], upTo: position };
    return { events: page.events.slice(indexAfter(page.events, position)), upTo: page.upTo };
  }

  /** Follows the end of the log until the signal aborts. */
  async run(signal: AbortSignal, options: { readonly logger: Logger; readonly onSuccess: () => void }): Promise<void> {
    const step = async (): Promise<number> => {
      this.#hinted = Promise.withResolvers<void>();
      await this.#extend(this.#pageAfter(this.#head));
      const waiting = new AbortController();
      await Promise.race([this.#hinted.promise, pause(pollMs, AbortSignal.any([signal, waiting.signal]))]);
      waiting.abort();
      return 0;
    };
    await loop(step, { name: 'log', signal, backOff, ...options });
  }

  #pageAfter(position: number): Page {
    const start = Math.floor(position / pageEvents) * pageEvents;
    const page = this.#pages.get(start) ?? { end: start + pageEvents, upTo: start, events: [], loading: null };
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
    page.upTo = Math.max(page.upTo, Math.min(page.end, head));
    if (head <= this.#head) return;
    this.#head = head;
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
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
