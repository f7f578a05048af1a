// What all streams of this process hold together, written and not taken by their callers, has a bound: beyond it whoever is behind is written
// nothing until there is room again, which is handed out in the order in which it was asked for, and is made at the cost of those alone of
// whose bytes nothing has left the process for long. So a crowd that is stuck costs others seconds, and never their streams; a crowd that is
// merely large waits for itself, and each of it has his turn.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { pause } from '../runtime/loop.ts';
import type { Stream } from './stream.ts';

export type RoomLimits = {
  /** Written to all streams and not taken. */
  readonly allUnsentBytesMax: number;
  /** Of whose bytes nothing has left this process for so long gives way where there is no room. */
  readonly stuckMsMin: number;
};

/** A count that finds less room than this makes as much, so that the next one is far off: it looks at every stream. */
const roomShareMin = 1 / 4;
/** Between two counts while there is no room. */
const countMs = 50;
const never = new AbortController().signal;

type Waiting = {
  readonly stream: Pick<Stream, 'isOpen'>;
  readonly bytes: number;
  readonly begin: (giveBack: () => void) => void;
};

export class StreamRoom {
  readonly #limits: RoomLimits;
  readonly #streams: () => Iterable<Stream>;
  readonly #giveWay: (stream: Stream) => void;
  /** What they held when they were counted last, and what was written since: they hold no more. */
  #bytes = 0;
  /** What was handed out, and is not given back. */
  #reservedBytes = 0;
  /** Who came first is first. */
  #waiting: Waiting[] = [];
  /** While there may be no room. */
  #isMaking = false;

  constructor(limits: RoomLimits, streams: () => Iterable<Stream>, giveWay: (stream: Stream) => void) {
    this.#limits = limits;
    this.#streams = streams;
    this.#giveWay = giveWay;
  }

  /** And nobody waits for it. */
  get isThere(): boolean {
    return !this.#isMaking;
  }

  /**
   * Resolves when so much may be written, and with what gives it back: just before it is written, since that counts by itself. A stream that
   * ends waits no longer.
   */
  reserve(stream: Pick<Stream, 'isOpen'>, wantedBytes: number): Promise<() => void> {
    // Whoever wants more than all may hold has his turn when nothing is held.
    const bytes = Math.min(wantedBytes, this.#limits.allUnsentBytesMax);
    if (!stream.isOpen) return Promise.resolve(() => undefined);
    if (this.isThere && this.#has(bytes)) return Promise.resolve(this.#handOut(bytes));
    const { promise, resolve } = Promise.withResolvers<() => void>();
    this.#waiting.push({ stream, bytes, begin: resolve });
    if (!this.#isMaking) void this.#make();
    return promise;
  }

  /** So much was written. */
  take(bytes: number): void {
    this.#bytes += bytes;
    if (!this.#isMaking && !this.#has(0)) void this.#make();
  }

  #has(bytes: number): boolean {
    return this.#bytes + this.#reservedBytes + bytes <= this.#limits.allUnsentBytesMax;
  }

  #handOut(bytes: number): () => void {
    this.#reservedBytes += bytes;
    return () => {
      this.#reservedBytes -= bytes;
    };
  }

  async #make(): Promise<void> {
    this.#isMaking = true;
    // What was written in this turn of the event loop goes out at its end.
    await nextTurn();
    for (;;) {
      this.#count(performance.now());
      const bytes = this.#handOutInOrder();
      if (this.#waiting.length === 0 && this.#has(0)) break;
      // Those who read well have taken so much in a moment.
      if (bytes >= roomShareMin * this.#limits.allUnsentBytesMax) await nextTurn();
      else await pause(countMs, never);
    }
    this.#isMaking = false;
  }

  /** Nobody is passed over, however little those behind him want. */
  #handOutInOrder(): number {
    const before = this.#reservedBytes;
    const later: Waiting[] = [];
    for (const waiting of this.#waiting) {
      const { stream, bytes, begin } = waiting;
      if (!stream.isOpen) begin(() => undefined);
      else if (later.length === 0 && this.#has(bytes)) begin(this.#handOut(bytes));
      else later.push(waiting);
    }
    this.#waiting = later;
    return this.#reservedBytes - before;
  }

  /** Makes room where there is little. Who has held most for longest gives way first. */
  #count(nowMs: number): void {
    const { allUnsentBytesMax, stuckMsMin } = this.#limits;
    const stuck: { readonly stream: Stream; readonly bytes: number; readonly weight: number }[] = [];
    this.#bytes = 0;
    for (const stream of this.#streams()) {
      const { unsentBytes: bytes } = stream;
      this.#bytes += bytes;
      const stalledMs = stream.stalledMs(nowMs);
      if (stalledMs >= stuckMsMin) stuck.push({ stream, bytes, weight: bytes * stalledMs });
    }
    const wantedBytes = Math.max(roomShareMin * allUnsentBytesMax, this.#waiting[0]?.bytes ?? 0);
    for (const { stream, bytes } of stuck.toSorted((a, b) => b.weight - a.weight)) {
      if (this.#has(wantedBytes)) return;
      this.#giveWay(stream);
      this.#bytes -= bytes;
    }
  }
}
