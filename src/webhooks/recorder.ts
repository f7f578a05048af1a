// What lanes have done, written for all of them together: while one statement is under way, what comes waits for the next. The last word of
// a lane counts for its row; every attempt is kept. A lane whose token is no longer the newest is told so, and has written nothing.

import type { Verdict } from '../core/verdict.ts';
import type { Logger } from '../runtime/logger.ts';
import { backOffMs, pause } from '../runtime/loop.ts';
import type { LaneKey, LaneState } from './lane.ts';
import type { LogEvent, Message } from './message.ts';
import type { Sent } from './send.ts';

export type Tried = {
  readonly message: Message;
  readonly sent: Sent;
  readonly atMs: number;
  /** Positions. */
  readonly first: number;
  readonly last: number;
  readonly count: number;
  /** The answer is about an endpoint that was changed since. */
  readonly isOutdated?: boolean;
};

export type Parked = {
  readonly events: readonly LogEvent[];
  readonly because: Extract<Verdict, { kind: 'park' }>['because'];
  readonly attempts: number;
};

export type LaneRecord = {
  readonly state: LaneState;
  readonly tried?: Tried;
  readonly parked?: Parked;
  readonly disabled?: Extract<Verdict, { kind: 'disable' }>['because'];
  /** The lane has come to its end, and is removed. */
  readonly isOver?: boolean;
};

export type Holder = LaneKey & { readonly token: number };
export type Entry = { readonly lane: Holder; readonly records: readonly [LaneRecord, ...LaneRecord[]] };

/** Writes all of it in one transaction, and returns the lanes that were still their holder's. */
export type WritePort = (entries: readonly Entry[]) => Promise<readonly Holder[]>;

type Waiting = {
  readonly lane: Holder;
  records: [LaneRecord, ...LaneRecord[]];
  readonly done: (isOurs: boolean) => void;
};

/** What one statement says; an attempt may carry 8 KiB of an answer. */
const lanesPerWriteMax = 500;
const backOff = { firstMs: 50, lastMs: 2_000 };

export class Recorder {
  readonly #write: WritePort;
  readonly #signal: AbortSignal;
  readonly #logger: Logger;
  #waiting = new Map<string, Waiting & { readonly promise: Promise<boolean> }>();
  #isFlushing = false;

  /** When the signal aborts, what cannot be written is given up: it will be sent again. */
  constructor(write: WritePort, options: { readonly signal: AbortSignal; readonly logger: Logger }) {
    this.#write = write;
    this.#signal = options.signal;
    this.#logger = options.logger;
  }

  /** Resolves when it is committed: true; or when the lane is another's by now, or the end has come: false. */
  async record(lane: Holder, record: LaneRecord): Promise<boolean> {
    const key = heldKeyOf(lane);
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      waiting.records.push(record);
      return waiting.promise;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#waiting.set(key, { lane, records: [record], done: resolve, promise });
    if (!this.#isFlushing) void this.#flush();
    return promise;
  }

  async #flush(): Promise<void> {
    this.#isFlushing = true;
    // One turn of the event loop: lanes that are done at the same time are written together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.values()].slice(0, lanesPerWriteMax);
      for (const { lane } of batch) this.#waiting.delete(heldKeyOf(lane));
      const ours = await this.#persist(batch);
      for (const { lane, done } of batch) done(ours.has(heldKeyOf(lane)));
    }
    this.#isFlushing = false;
  }

  async #persist(entries: readonly Entry[]): Promise<ReadonlySet<string>> {
    for (let failures = 0; ; ) {
      try {
        return new Set((await this.#write(entries)).map(heldKeyOf));
      } catch (error) {
        failures += 1;
        if (this.#signal.aborted) return new Set();
        const waitMs = backOffMs(failures, backOff);
        this.#logger[failures > 3 ? 'error' : 'warn']({ event: 'record.failed', failures, waitMs, err: error });
        await pause(waitMs, this.#signal);
      }
    }
  }
}

/** One process may have had a lane, lost it, and have it again: what it says as its former holder is another thing. */
function heldKeyOf(lane: Holder): string {
  return `${keyOf(lane)}/${lane.token}`;
}

export function keyOf({ endpointId, generation, lane }: LaneKey): string {
  return `${endpointId}/${generation}/${lane}`;
}
