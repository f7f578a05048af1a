// All streams of this process, whatever they tell: how many there may be, of one caller too; the beat, at which each shows a sign of life,
// is asked for its key and for what it has taken; and their end with the process. None holds a place among the requests that are worked on.

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../runtime/logger.ts';
import { callerOf, type GuardPort } from './auth.ts';
import { type Caller, callerName } from './instance.ts';
import { overloaded, type Problem } from './problems.ts';
import { type Closing, Stream } from './stream.ts';
import { type RoomLimits, StreamRoom } from './stream-room.ts';
import { tallyHead } from './tally.ts';

export type StreamLimits = RoomLimits & {
  /** Open at once. */
  readonly streamsMax: number;
  readonly callerStreamsMax: number;
  /** Written and not taken: a stream of events with more is read from the log again, at the pace of its caller. */
  readonly unsentBytesMax: number;
  /** For how long nothing of what waits in this process for a caller may leave it. */
  readonly stalledMsMax: number;
  /** A stream shows a sign of life at least so often. */
  readonly beatMs: number;
  /** How often its key is looked at. */
  readonly keyCheckMs: number;
};

export const streamLimits: StreamLimits = {
  streamsMax: 5_000,
  callerStreamsMax: 2_500,
  unsentBytesMax: 128 * 1024,
  // A thousand who are behind are written a full slice each at once, the next thousand in the moment in which these have taken it.
  allUnsentBytesMax: 64 * 1024 * 1024,
  // The system takes on from us in large pieces, which are seconds apart of one who reads slowly: 2 s cut some at 640 KB/s.
  stuckMsMin: 5_000,
  stalledMsMax: 30_000,
  // Proxies close what is silent for a minute; some for half of one.
  beatMs: 15_000,
  keyCheckMs: 5_000,
};

/** Streams keep their connections: of all that may be open they have half at most, and one caller a quarter. */
export function streamsMaxOf(connectionsMax: number): Pick<StreamLimits, 'streamsMax' | 'callerStreamsMax'> {
  const { streamsMax, callerStreamsMax } = streamLimits;
  return {
    streamsMax: Math.min(streamsMax, Math.floor(connectionsMax / 2)),
    callerStreamsMax: Math.min(callerStreamsMax, Math.floor(connectionsMax / 4)),
  };
}

export type StreamKind = 'events' | 'presence';

/** What the kinds of streams add to a beat. */
export type Streaming = {
  readonly kind: StreamKind;
  /** The caller's place in the log as far as it has been written; null while nothing is to be said of it. */
  readonly position: () => number | null;
  readonly onBeat?: () => void;
};

export type StreamsDeps = {
  readonly limits?: Partial<StreamLimits>;
  readonly findKey: GuardPort['findKey'];
  readonly logger: Logger;
  readonly onClosed: (reason: Closing['reason']) => void;
};

type Open = {
  readonly stream: Stream;
  readonly streaming: Streaming;
  readonly caller: Caller;
  readonly sinceMs: number;
  beatAtMs: number;
  keyAtMs: number;
  reason: Closing['reason'] | 'left';
};

/** In a beat all are looked at so often. */
const looksPerBeat = 15;

export class Streams {
  readonly limits: StreamLimits;
  readonly room: StreamRoom;
  readonly #deps: StreamsDeps;
  readonly #open = new Map<Stream, Open>();
  /** Were sent their last block, and have not taken it. */
  readonly #parting = new Set<Stream>();
  readonly #byCaller = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;
  #isClosing = false;

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
    this.limits = { ...streamLimits, ...deps.limits };
    this.room = new StreamRoom(
      this.limits,
      () => this.#holders(),
      (stream) => this.#cut(stream),
    );
  }

  countOf(kind: StreamKind): number {
    let count = 0;
    for (const { streaming } of this.#open.values()) if (streaming.kind === kind) count += 1;
    return count;
  }

  /** Of all streams, what waits for their callers. */
  unsentBytes(): readonly number[] {
    return [...this.#holders()].map((stream) => stream.unsentBytes);
  }

  /** Why there is no room for another one of this caller; null when there is. */
  refusal(request: FastifyRequest): Problem | null {
    if (this.#isClosing) return { ...overloaded, detail: 'this process is stopping; ask again' };
    const { streamsMax, callerStreamsMax } = this.limits;
    if ((this.#byCaller.get(callerName(callerOf(request))) ?? 0) >= callerStreamsMax) {
      return { type: 'too-many-streams', detail: `at most ${callerStreamsMax} at once` };
    }
    if (this.#open.size < streamsMax) return null;
    return { ...overloaded, detail: `there are ${streamsMax} streams, and no room for another` };
  }

  /** Begins one, where there was room a moment ago: nothing may be awaited in between. */
  begin(request: FastifyRequest, reply: FastifyReply, streaming: Streaming): Stream {
    const caller = callerOf(request);
    const name = callerName(caller);
    const sinceMs = performance.now();
    const stream = new Stream(reply, this.room, sinceMs);
    if (stream.isOpen) tallyHead(request, 200);
    this.#byCaller.set(name, (this.#byCaller.get(name) ?? 0) + 1);
    const { beatMs, keyCheckMs } = this.limits;
    const due = { beatAtMs: sinceMs + beatMs, keyAtMs: sinceMs + keyCheckMs };
    this.#open.set(stream, { stream, streaming, caller, sinceMs, ...due, reason: 'left' });
    this.#timer ??= setInterval(() => this.#look(performance.now()), beatMs / looksPerBeat).unref();
    stream.onEnded(() => this.#leave(stream, name));
    return stream;
  }

  close(stream: Stream, closing: Closing): void {
    const open = this.#open.get(stream);
    if (open === undefined) return;
    open.reason = closing.reason;
    this.#deps.onClosed(closing.reason);
    this.#parting.add(stream);
    stream.onGone(() => this.#parting.delete(stream));
    stream.close(closing);
  }

  /** All of them, for good. */
  closeAll(): void {
    this.#isClosing = true;
    for (const stream of this.#open.keys()) this.close(stream, { reason: 'shutdown' });
  }

  *#holders(): Generator<Stream> {
    yield* this.#open.keys();
    yield* this.#parting;
  }

  #cut(stream: Stream): void {
    const open = this.#open.get(stream);
    if (open !== undefined) {
      open.reason = 'slow';
      this.#deps.onClosed('slow');
    }
    this.#parting.delete(stream);
    stream.cut();
  }

  #leave(stream: Stream, name: string): void {
    const open = this.#open.get(stream);
    if (open === undefined) return;
    this.#open.delete(stream);
    const { reason, sinceMs, streaming } = open;
    const durationMs = Math.round(performance.now() - sinceMs);
    const level = reason === 'left' || reason === 'shutdown' ? 'debug' : 'info';
    this.#deps.logger[level]({ event: 'stream.ended', stream: streaming.kind, reason, durationMs });
    const others = (this.#byCaller.get(name) ?? 1) - 1;
    if (others > 0) this.#byCaller.set(name, others);
    else this.#byCaller.delete(name);
    if (this.#open.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #look(nowMs: number): void {
    const { beatMs, keyCheckMs, stalledMsMax } = this.limits;
    for (const open of this.#open.values()) {
      const { stream, streaming } = open;
      if (stream.stalledMs(nowMs) >= stalledMsMax) this.close(stream, { reason: 'slow' });
      const position = streaming.position();
      // Not a look later: that would be more than a beat.
      if (position !== null) stream.beat(position, nowMs, beatMs - beatMs / looksPerBeat);
      if (nowMs >= open.keyAtMs) {
        open.keyAtMs = nowMs + keyCheckMs;
        this.#askForKey(open);
      }
      if (nowMs < open.beatAtMs) continue;
      open.beatAtMs = nowMs + beatMs;
      streaming.onBeat?.();
    }
  }

  /** One that is gone, or has expired, reads nothing any more; while nobody can tell, it reads on. */
  #askForKey({ stream, caller }: Open): void {
    if (caller.kind !== 'key') return;
    const judge = (key: Awaited<ReturnType<GuardPort['findKey']>>): void => {
      const isGood = key !== null && (key.expiresAtMs === null || Date.now() < key.expiresAtMs);
      if (!isGood) this.close(stream, { reason: 'key' });
    };
    const found = this.#deps.findKey(caller.id);
    if (found instanceof Promise) void found.then(judge, () => undefined);
    else judge(found);
  }
}
