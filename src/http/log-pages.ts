// The log as streams read it: where it ends, in pages that are kept and shared by all who want what is on them, and by user for whoever is far
// behind and wants one alone. An event is rendered once a page. Every statement is made here, few at once, and none for those who have left.

import { atMost } from '../runtime/at-most.ts';
import { eventBody, type LoggedEvent } from './render.ts';
import type { EventsPort, LogQuestion } from './routes/log.ts';

export type LogPorts = {
  /** The events after a position and up to another one, where the log ends and up to where it may be gone: all of one moment. */
  readonly stretch: (after: number, upTo: number) => Promise<LogStretch>;
  readonly question: EventsPort;
};

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
  /** All of the log that is wanted is here from `goneUpTo` to there. */
  upTo: number;
  goneUpTo: number;
  frames: readonly Frame[];
  /** Of all frames. */
  characters: number;
  /** The whole page, once somebody who wants all of it has asked. */
  bytes: Buffer | null;
  loading: Promise<void> | null;
};

export const pageEvents = 256;
/** Of pages that are kept for those who come after; a page has some 50 KB, and with large devices half a MB. */
const pagesBytesMax = 32 * 1024 * 1024;
/** Of the pool, which others need too: for those who are behind, and for those who begin. The end of the log waits for neither. */
const loadsMax = { pages: 2, ends: 1 };

export class LogPages {
  readonly #ports: LogPorts;
  readonly #pages = new Map<number, LogPage>();
  readonly #loads = { pages: atMost(loadsMax.pages), ends: atMost(loadsMax.ends) };
  #head = 0;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(ports: LogPorts) {
    this.#ports = ports;
  }

  get head(): number {
    return this.#head;
  }

  /** For how long nothing was read. */
  get ageMs(): number {
    return performance.now() - this.#readAtMs;
  }

  get keptBytes(): number {
    let bytes = 0;
    for (const page of this.#pages.values()) bytes += bytesOfPage(page);
    return bytes;
  }

  /** Whether what follows a position is kept. */
  has(position: number): boolean {
    const page = this.#pages.get(startOf(position));
    return page !== undefined && !this.#lacks(page, position);
  }

  clear(): void {
    this.#pages.clear();
  }

  /** The ends of the log, as they are now. */
  async ends(): Promise<{ readonly head: number; readonly trimmed: number }> {
    const { head, trimmed } = await this.#loads.ends(() => this.#read(() => this.#ports.stretch(0, 0)));
    return { head, trimmed };
  }

  /** The page that has what follows a position, once it has something of it, or the log ends there, or it is not wanted any more. */
  async after(position: number, isWanted: () => boolean): Promise<LogPage> {
    let page = this.#pageOf(position);
    if (this.#lacks(page, position)) {
      await this.#loads.pages(async () => {
        // Until the turn comes others may have had it read.
        page = this.#pageOf(position);
        if (isWanted() && this.#lacks(page, position)) await this.#extend(page);
      });
    }
    return page;
  }

  /** The same as a statement has it that begins now, for the end of the log: it waits for no turn. */
  async newestAfter(position: number): Promise<LogPage> {
    const page = this.#pageOf(position);
    // What is being read already may have been asked for before the commit that one was told of.
    await page.loading?.catch(() => undefined);
    await this.#extend(page);
    return page;
  }

  /** What one user has of the log behind a position: a page of his own, which nobody else wants. */
  async ofUser(
    wanted: Pick<LogQuestion, 'userId' | 'types'> & { readonly after: number },
    isWanted: () => boolean,
  ): Promise<LogPage> {
    const { after } = wanted;
    return this.#loads.pages(async () => {
      if (!isWanted()) return emptyPage(after);
      const { trimmed, events, upTo } = await this.#read(() => this.#ports.question({ ...wanted, limit: pageEvents }));
      const isFull = events.length > pageEvents;
      return {
        ...emptyPage(after),
        upTo: isFull ? (events.at(-1)?.position ?? after) : upTo,
        goneUpTo: trimmed > after ? trimmed : 0,
        frames: events.map(frameOf),
      };
    });
  }

  #lacks(page: LogPage, position: number): boolean {
    return page.upTo <= position || (page.upTo < page.end && page.upTo < this.#head);
  }

  #pageOf(position: number): LogPage {
    const start = startOf(position);
    const kept = this.#pages.get(start);
    const page = kept ?? emptyPage(start);
    // The one that was used last goes last.
    this.#pages.delete(start);
    this.#pages.set(start, page);
    if (kept === undefined) this.#letGo(page);
    return page;
  }

  #letGo(newest: LogPage): void {
    let bytes = this.keptBytes;
    for (const [start, page] of this.#pages) {
      if (bytes <= pagesBytesMax || page === newest) return;
      this.#pages.delete(start);
      bytes -= bytesOfPage(page);
    }
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
    const { head, trimmed, events } = await this.#read(() => this.#ports.stretch(from, page.end));
    if (trimmed > from) page.goneUpTo = trimmed;
    const frames = events.map(frameOf);
    page.frames = page.frames.concat(frames);
    for (const { text } of frames) page.characters += text.length;
    page.upTo = Math.max(from, Math.min(page.end, head));
  }

  async #read<Answer extends { readonly head: number }>(read: () => Promise<Answer>): Promise<Answer> {
    const known = this.#head;
    const answer = await read();
    // An answer that was asked for before another one may come after it; smaller than what was known before, the log is another one.
    if (answer.head < known) this.#pages.clear();
    this.#head = answer.head < known ? answer.head : Math.max(this.#head, answer.head);
    this.#readAtMs = performance.now();
    return answer;
  }
}

function startOf(position: number): number {
  return Math.floor(position / pageEvents) * pageEvents;
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
