// What all streams of this process hold together, written and not taken by their callers, has a bound: beyond it whoever is behind is written
// nothing until there is room again, and room is made at the cost of those alone who take nothing. So a crowd that is stuck costs others
// seconds, and never their streams; a crowd that is merely large waits for itself.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { pause } from '../runtime/loop.ts';
import type { Stream } from './stream.ts';

export type RoomLimits = {
  /** Written to all streams and not taken. */
  readonly allUnsentBytesMax: number;
  /** Whoever has taken nothing of what waits for so long gives way where there is no room. */
  readonly stuckMsMin: number;
};

/** A count that finds less room than this makes as much, so that the next one is far off: it looks at every stream. */
const roomShareMin = 1 / 4;
/** Between two counts while there is no room. */
const countMs = 50;
const never = new AbortController().signal;

export class StreamRoom {
  readonly #limits: RoomLimits;
  readonly #streams: () => Iterable<Stream>;
  readonly #giveWay: (stream: Stream) => void;
  /** What they held when they were counted last, and what was written since: they hold no more. */
  #bytes = 0;
  /** While there may be no room. */
  #made: PromiseWithResolvers<void> | null = null;

  constructor(limits: RoomLimits, streams: () => Iterable<Stream>, giveWay: (stream: Stream) => void) {
    this.#limits = limits;
    this.#streams = streams;
    this.#giveWay = giveWay;
  }

  get isThere(): boolean {
    return this.#made === null;
  }

  /** Resolves when there is room, or was a moment ago. */
  async made(): Promise<void> {
    await this.#made?.promise;
  }

  /** So much was written. */
  take(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.allUnsentBytesMax && this.#made === null) void this.#make();
  }

  async #make(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#made = { promise, resolve, reject: resolve };
    // What was written in this turn of the event loop goes out at its end.
    await nextTurn();
    while (!this.#count(performance.now())) await pause(countMs, never);
    this.#made = null;
    resolve();
  }

  /** Whether there is room. Who has held most for longest gives way first. */
  #count(nowMs: number): boolean {
    const { allUnsentBytesMax, stuckMsMin } = this.#limits;
    const stuck: { readonly stream: Stream; readonly bytes: number; readonly weight: number }[] = [];
    this.#bytes = 0;
    for (const stream of this.#streams()) {
      const { unsentBytes: bytes } = stream;
      this.#bytes += bytes;
      const stalledMs = stream.stalledMs(nowMs);
      if (stalledMs >= stuckMsMin) stuck.push({ stream, bytes, weight: bytes * stalledMs });
    }
    const wantedBytes = (1 - roomShareMin) * allUnsentBytesMax;
    for (const { stream, bytes } of stuck.toSorted((a, b) => b.weight - a.weight)) {
      if (this.#bytes <= wantedBytes) break;
      this.#giveWay(stream);
      this.#bytes -= bytes;
    }
    return this.#bytes <= allUnsentBytesMax;
  }
}
