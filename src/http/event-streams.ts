// Streams of the log. A stream is at the end of the log, where it is told what is new in the moment in which the feed is, or it is behind and
// reads pages at the pace of its caller until it is there; between the two nothing can come, so that nothing is missed or told twice. Those
// that want the same share the bytes.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EventType } from '../core/session.ts';
import { atMost } from '../runtime/at-most.ts';
import { pause } from '../runtime/loop.ts';
import type { LogFeed } from './log-feed.ts';
import { type Frame, framesAfter, type LogPage, pageEvents } from './log-pages.ts';
import type { Stream } from './stream.ts';
import type { Streams } from './streams.ts';

export type EventFilter = {
  /** Null: all of them. */
  readonly types: ReadonlySet<EventType> | null;
  /** Null: everybody. */
  readonly userId: string | null;
};

type Reader = {
  readonly stream: Stream;
  readonly filter: EventFilter;
  /** Everything up to here has been written. Of one at the end of the log the feed knows it. */
  position: number;
  /** At the end of the log: with those that want the same. */
  group: Group | null;
};

type Group = {
  readonly userId: string | null;
  readonly typesKey: string;
  readonly types: ReadonlySet<EventType> | null;
  readonly readers: Set<Reader>;
  /** What is new for them, while it is being told. */
  texts: string[];
};

/**
 * Whoever wants one user, and is further behind, asks for that user by himself: of pages he would have everybody's events read, thousands for
 * one of his. Nearer to the end pages are read for others anyway, and a crowd that was cut off for a moment shares them.
 */
const nearEvents = 8 * pageEvents;
/** So many keep room for what is not read yet: more would keep it from those whose pages are at hand, and only wait for the database. */
const readsMax = 32;
/** Until a page is asked for again that could not be read. */
const retryMs = 500;
const never = new AbortController().signal;

export class EventStreams {
  readonly #feed: LogFeed;
  readonly #streams: Streams;
  readonly #onSent: (events: number) => void;
  readonly #readers = new Set<Reader>();
  readonly #reads = atMost(readsMax);
  /** By the user, null for everybody, and by the types. */
  readonly #groups = new Map<string | null, Map<string, Group>>();

  constructor(feed: LogFeed, streams: Streams, onSent: (events: number) => void) {
    this.#feed = feed;
    this.#streams = streams;
    this.#onSent = onSent;
    feed.listen({
      onFrames: (frames, before) => this.#tell(frames, before),
      onGone: (upTo) => {
        for (const { stream, group } of this.#readers) {
          if (group !== null) streams.close(stream, { reason: 'gone', after: upTo });
        }
      },
      onAhead: (head) => {
        for (const { stream, group, position } of this.#readers)
          if (group !== null || position > head) streams.close(stream, { reason: 'ahead', head });
      },
      // What is erased is not told any more; nobody is told of it.
      onErased: () => undefined,
    });
  }

  /** How many events the stream that is furthest behind has not been sent. */
  get lagEvents(): number {
    let lag = 0;
    for (const { group, position } of this.#readers) {
      if (group === null) lag = Math.max(lag, this.#feed.head - position);
    }
    return Math.max(lag, this.#readers.size === 0 ? 0 : this.#feed.head - this.#feed.position);
  }

  /** Tells what follows a position, which the log has, and which ends at `head` or behind it. */
  begin(
    request: FastifyRequest,
    reply: FastifyReply,
    from: { readonly after: number; readonly head: number; readonly filter: EventFilter },
  ): void {
    const { after, head, filter } = from;
    const positionOf = (): number => (reader.group === null ? reader.position : this.#feed.position);
    // A process that cannot read the log has no sign of life to give: who hears none goes elsewhere.
    const position = (): number | null => (this.#feed.isCurrent ? positionOf() : null);
    const stream = this.#streams.begin(request, reply, { kind: 'events', position });
    const reader: Reader = { stream, filter, position: after, group: null };
    this.#readers.add(reader);
    this.#feed.join(head);
    stream.onEnded(() => {
      this.#readers.delete(reader);
      this.#feed.leave();
      this.#ungroup(reader);
    });
    // A caller who is sent nothing for long has a place to come back to all the same.
    stream.write(`id: ${after}\n\n`, performance.now());
    void this.#catchUp(reader);
  }

  async #catchUp(reader: Reader): Promise<void> {
    const { stream } = reader;
    while (stream.isOpen) {
      await stream.drained();
      if (!stream.isOpen) return;
      if (reader.position === this.#feed.position) return this.#group(reader);
      if (reader.position > this.#feed.position) await this.#feed.told();
      else {
        const isKept = !this.#isFar(reader) && this.#feed.pages.has(reader.position);
        const isNew = await (isKept ? this.#readOn(reader) : this.#reads(() => this.#readOn(reader)));
        if (!isNew && stream.isOpen) await pause(retryMs, never);
        // However fast this caller reads, the others have their turns.
        await nextTurn();
      }
    }
  }

  /** Whether there was something. There is room for it before it is read, so that nothing is read in vain. */
  async #readOn(reader: Reader): Promise<boolean> {
    const { stream } = reader;
    const giveBack = await this.#streams.room.reserve(stream, sliceCharactersMax);
    const page = stream.isOpen ? await this.#next(reader).catch(() => null) : null;
    giveBack();
    if (page === null || page.upTo <= reader.position) return false;
    this.#writePage(reader, page);
    return true;
  }

  #isFar({ filter, position }: Reader): boolean {
    return filter.userId !== null && this.#feed.position - position > nearEvents;
  }

  /** What comes next for somebody who is behind. */
  #next(reader: Reader): Promise<LogPage> {
    const { stream, filter, position } = reader;
    const { pages } = this.#feed;
    const isWanted = (): boolean => stream.isOpen;
    return this.#isFar(reader)
      ? pages.ofUser({ ...filter, after: position }, isWanted)
      : pages.after(position, isWanted);
  }

  #writePage(reader: Reader, page: LogPage): void {
    const { stream, filter, position } = reader;
    if (!stream.isOpen) return;
    if (position < page.goneUpTo) return this.#streams.close(stream, { reason: 'gone', after: page.goneUpTo });
    const frames = framesAfter(page, position).filter((frame) => wants(filter, frame));
    const slice = sliceOf(frames);
    if (slice.length > 0) stream.write(bytesOf(page, filter, position, slice), performance.now());
    this.#onSent(slice.length);
    reader.position = slice.length < frames.length ? (slice.at(-1)?.position ?? page.upTo) : page.upTo;
  }

  #tell(frames: readonly Frame[], before: number): void {
    const touched = new Set<Group>();
    for (const frame of frames) {
      for (const groups of [this.#groups.get(null), this.#groups.get(frame.userId)]) {
        for (const group of groups?.values() ?? []) {
          if (group.types !== null && !group.types.has(frame.type)) continue;
          group.texts.push(frame.text);
          touched.add(group);
        }
      }
    }
    const nowMs = performance.now();
    for (const group of touched) {
      const { texts } = group;
      group.texts = [];
      this.#tellGroup(group, Buffer.from(texts.join('')), { events: texts.length, before, nowMs });
    }
  }

  #tellGroup(
    { readers }: Group,
    bytes: Buffer,
    { events, before, nowMs }: { readonly events: number; readonly before: number; readonly nowMs: number },
  ): void {
    const { limits, room } = this.#streams;
    for (const reader of readers) {
      const { stream } = reader;
      // However large, and whoever is stuck: it is shared by all who have taken what was before.
      const { unsentBytes } = stream;
      if (unsentBytes === 0 || (room.isThere && unsentBytes + bytes.length <= limits.unsentBytesMax)) {
        stream.write(bytes, nowMs);
        this.#onSent(events);
      } else {
        this.#ungroup(reader);
        reader.position = before;
        void this.#catchUp(reader);
      }
    }
  }

  #group(reader: Reader): void {
    const { userId, types } = reader.filter;
    const typesKey = keyOf(types);
    const ofUser = this.#groups.get(userId) ?? new Map<string, Group>();
    this.#groups.set(userId, ofUser);
    const group = ofUser.get(typesKey) ?? { userId, typesKey, types, readers: new Set(), texts: [] };
    ofUser.set(typesKey, group);
    group.readers.add(reader);
    reader.group = group;
  }

  #ungroup(reader: Reader): void {
    const { group } = reader;
    if (group === null) return;
    reader.group = null;
    group.readers.delete(reader);
    if (group.readers.size > 0) return;
    const ofUser = this.#groups.get(group.userId);
    ofUser?.delete(group.typesKey);
    if (ofUser?.size === 0) this.#groups.delete(group.userId);
  }
}

function wants({ types, userId }: EventFilter, frame: Frame): boolean {
  return (types === null || types.has(frame.type)) && (userId === null || userId === frame.userId);
}

function keyOf(types: EventFilter['types']): string {
  return types === null ? '' : [...types].toSorted().join();
}

/** What is written at once to somebody who is behind, at least one event: more waits until this is taken. */
const sliceCharactersMax = 64 * 1024;

function sliceOf(frames: readonly Frame[]): readonly Frame[] {
  let characters = 0;
  const end = frames.findIndex(({ text }, index) => {
    characters += text.length;
    return index > 0 && characters > sliceCharactersMax;
  });
  return end === -1 ? frames : frames.slice(0, end);
}

/** Of a page that is read from its beginning, and does not grow any more, the same for all who want all of it. */
function bytesOf(page: LogPage, { types, userId }: EventFilter, position: number, frames: readonly Frame[]): Buffer {
  const isWhole = types === null && userId === null && position <= page.start && page.upTo >= page.end;
  const isShared = isWhole && frames.length === page.frames.length;
  if (isShared && page.bytes !== null) return page.bytes;
  const bytes = Buffer.from(frames.map(({ text }) => text).join(''));
  if (isShared) page.bytes = bytes;
  return bytes;
}
