// One lane of an endpoint: it follows the log, and sends what belongs to it, one delivery after the other. The next one begins when the one
// before is done, so that the events of one user arrive in their order. What is done is recorded behind the sending: a process that dies in
// between leaves a delivery that is sent again, under the same webhook-id, and never one that is left out.

import type { EventType } from '../core/session.ts';
import { failingSinceMs, retryScheduleMs, type Verdict, verdict } from '../core/verdict.ts';
import { pause } from '../runtime/loop.ts';
import type { LogReader } from './log-reader.ts';
import { type LogEvent, type Message, messageOf } from './message.ts';
import type { LaneRecord, Recorder, Tried } from './recorder.ts';
import type { Sent } from './send.ts';

export type LaneKey = { readonly endpointId: string; readonly generation: number; readonly lane: number };

/** What a lane has done, and what it has in hand. */
export type LaneState = {
  /** All its events up to here are done. */
  readonly position: number;
  /** Failed tries of the delivery in hand. */
  readonly attempts: number;
  /** Those that were refused. */
  readonly refusals: number;
  readonly firstFailedAtMs: number | null;
  /** Not before. */
  readonly nextAtMs: number;
  /** The positions of the batch in hand, committed before it was sent first. */
  readonly batch: readonly number[] | null;
  /** A batch that was refused: its events go one by one, up to here. */
  readonly singlesTo: number | null;
};

export type Lane = LaneKey & {
  /** How many lanes share the users. */
  readonly of: number;
  /** A lane of an older division ends here. */
  readonly until: number | null;
  readonly token: number;
  readonly state: LaneState;
};

export type Endpoint = {
  readonly id: string;
  /** Grows with every change that somebody makes. */
  readonly revision: number;
  readonly url: string;
  /** Null: all. */
  readonly types: ReadonlySet<EventType> | null;
  readonly maxBatch: number;
  readonly failingSinceMs: number | null;
  readonly lastSuccessAtMs: number | null;
  /** Lanes whose delivery in hand has failed. */
  readonly failingLanes: number;
  /** The newest first. */
  readonly secretsAt: (nowMs: number) => readonly Buffer[];
};

export type LaneDeps = {
  /** As it is now; null when it is gone or disabled. */
  readonly endpoint: () => Endpoint | null;
  readonly log: LogReader;
  readonly readEvents: (positions: readonly number[]) => Promise<readonly LogEvent[]>;
  /** `tries`: those that failed before. */
  readonly send: (endpoint: Endpoint, delivery: Delivery, tries: number, signal: AbortSignal) => Promise<Sent>;
  readonly recorder: Recorder;
  /** False as soon as another process may have the lane. */
  readonly isHeld: () => boolean;
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly delivered: (events: readonly LogEvent[], nowMs: number) => void;
  readonly attempted: (sent: Sent, lane: LaneKey, events: number, outcome: Verdict['kind']) => void;
};

export type Delivery = { readonly message: Message; readonly events: readonly LogEvent[]; readonly last: number };

/** A lane that has passed so many events that are none of its own says so: a restart need not pass them again. */
const passedMax = 1_000;
/** How soon a lane that waits notices that its endpoint was changed. */
const waitSliceMs = 250;
/** Twice the longest wait, which a receiver may ask for, and a little more. */
const waitMsMax = 2.5 * Math.max(...retryScheduleMs);

export class LaneRun {
  readonly #lane: Lane;
  readonly #deps: LaneDeps;
  #state: LaneState;
  /** Everything up to here was looked at. */
  #passed: number;
  /** When the event that is being delivered happened; null while there is none. */
  #oldestAtMs: number | null = null;
  /** It waits for the log to grow, and owes nothing. */
  #isIdle = false;
  /** The events of the batch in hand, where this process put it together. */
  #batchEvents: readonly LogEvent[] | null = null;
  /** The last record, and the one before it. */
  #recording: Promise<boolean> = Promise.resolve(true);
  #recordedBefore: Promise<boolean> = this.#recording;

  constructor(lane: Lane, deps: LaneDeps) {
    this.#lane = lane;
    this.#deps = deps;
    this.#state = lane.state;
    this.#passed = lane.state.position;
  }

  get passed(): number {
    return this.#passed;
  }

  get oldestAtMs(): number | null {
    return this.#oldestAtMs;
  }

  /** Records how far an idle lane is: what it passed was none of its own, and so nobody has been told of it. */
  noteProgress(): void {
    if (this.#isIdle && this.#passed > this.#state.position) void this.#save(done(this.#passed, this.#state));
  }

  /**
   * Until `stop` aborts, the lane is over, its endpoint is disabled, or it turns out to be another process's. A delivery that is under way
   * when `stop` aborts is finished and recorded; `kill` ends it.
   */
  async run(stop: AbortSignal, kill: AbortSignal): Promise<void> {
    const killed = Promise.withResolvers<void>();
    kill.addEventListener('abort', () => killed.resolve(), { once: true });
    const work = async (): Promise<void> => {
      try {
        await this.#follow(stop, kill);
      } finally {
        await this.#recording;
      }
    };
    await Promise.race([work(), killed.promise]);
  }

  async #follow(stop: AbortSignal, kill: AbortSignal): Promise<void> {
    stop.addEventListener('abort', () => this.#deps.log.wake(), { once: true });
    while (!stop.aborted) {
      const endpoint = this.#deps.endpoint();
      if (endpoint === null) return;
      const delivery = await this.#next(endpoint, stop);
      if (delivery === 'over') return;
      this.#oldestAtMs = null;
      if (delivery === null) continue;
      this.#oldestAtMs = delivery.events[0]?.atMs ?? null;
      if (!(await this.#isTime(endpoint, stop))) continue;
      // One delivery may be unrecorded while the next is sent, no more; and the lane is still ours.
      if (!(await this.#recordedBefore) || !this.#deps.isHeld()) return;
      if (!(await this.#deliver(delivery, kill))) return;
      this.#oldestAtMs = null;
    }
  }

  /** Waits for the next try; false when there is a reason to look again. */
  async #isTime(endpoint: Endpoint, stop: AbortSignal): Promise<boolean> {
    for (;;) {
      const leftMs = this.#state.nextAtMs - this.#deps.nowMs();
      // Further ahead than any wait: the clock was set back.
      if (leftMs <= 0 || leftMs > waitMsMax) return true;
      await pause(Math.min(leftMs, waitSliceMs), stop);
      if (stop.aborted) return false;
      if (this.#deps.endpoint()?.revision === endpoint.revision) continue;
      // Somebody changed it, and need not wait to see whether that helped. Another receiver is judged anew.
      const isSameUrl = this.#deps.endpoint()?.url === endpoint.url;
      this.#state = { ...this.#state, ...(isSameUrl ? { nextAtMs: 0 } : fresh) };
      return false;
    }
  }

  /** What is to be sent next; null when there was a reason to look again. Over: it has come to its end, or is another process's. */
  async #next(endpoint: Endpoint, stop: AbortSignal): Promise<Delivery | 'over' | null> {
    const { batch } = this.#state;
    if (batch !== null) {
      const events = this.#batchEvents ?? (await this.#deps.readEvents(batch));
      if (events.length > 0) return deliveryOf(endpoint.id, events, batch);
      // Its users were erased meanwhile.
      return (await this.#save(done(batch.at(-1) ?? this.#state.position, this.#state))) ? null : 'over';
    }
    const { until } = this.#lane;
    if (until !== null && this.#passed >= until) {
      await this.#record({ state: { ...this.#state, position: until }, isOver: true });
      return 'over';
    }
    const isSingle = endpoint.maxBatch === 1 || this.#passed < (this.#state.singlesTo ?? 0);
    const events = await this.#collect(endpoint, isSingle ? 1 : endpoint.maxBatch);
    const [first] = events;
    if (first === undefined) {
      if (this.#passed - this.#state.position >= passedMax) await this.#save(done(this.#passed, this.#state));
      if (until === null || this.#passed < until) await this.#waitForMore(stop);
      return null;
    }
    // Whatever is before it is none of its own: the record of the delivery says so too.
    this.#passed = first.position - 1;
    this.#state = { ...this.#state, position: this.#passed };
    if (isSingle) return deliveryOf(endpoint.id, events, [first.position]);
    this.#batchEvents = events;
    return (await this.#save({ ...this.#state, batch: events.map(({ position }) => position) })) ? null : 'over';
  }

  async #waitForMore(stop: AbortSignal): Promise<void> {
    this.#isIdle = true;
    await this.#deps.log.grown(this.#passed, stop);
    this.#isIdle = false;
  }

  /** Events of this lane, in their order, as many as are there and wanted; the first page that has any is enough. */
  async #collect(endpoint: Endpoint, eventsMax: number): Promise<readonly LogEvent[]> {
    const { until } = this.#lane;
    for (;;) {
      const { events, upTo } = await this.#deps.log.after(this.#passed, this.#lane);
      if (upTo === this.#passed) return [];
      const own: LogEvent[] = [];
      for (const event of events) {
        if (until !== null && event.position > until) break;
        if ((endpoint.types?.has(event.type) ?? true) && own.push(event) === eventsMax) break;
      }
      if (own.length > 0) return own;
      this.#passed = until === null ? upTo : Math.min(upTo, until);
      if (this.#passed === until || this.#passed - this.#state.position >= passedMax) return [];
    }
  }

  /** False when there is nothing more to be done by this process. */
  async #deliver(delivery: Delivery, kill: AbortSignal): Promise<boolean> {
    const { message, events, last } = delivery;
    // Asked again: the endpoint may have been changed while the lane waited.
    const endpoint = this.#deps.endpoint();
    if (endpoint === null) return false;
    const sent = await this.#deps.send(endpoint, delivery, this.#state.attempts, kill);
    const nowMs = this.#deps.nowMs();
    const tried = { message, sent, atMs: nowMs, first: events[0]?.position ?? last, last, count: events.length };
    if (sent.attempt.kind !== 'delivered' && this.#deps.endpoint()?.revision !== endpoint.revision) {
      // It was changed meanwhile: what was answered says nothing of it as it is now.
      this.#deps.attempted(sent, this.#lane, events.length, 'retry');
      return this.#save({ ...this.#state, nextAtMs: 0 }, { tried: { ...tried, isOutdated: true } });
    }
    const isDraining = this.#lane.until !== null;
    const inHand = { ...this.#state, eventCount: this.#state.batch?.length ?? 1, isDraining };
    const end = verdict(sent.attempt, inHand, endpoint, nowMs, this.#deps.random());
    this.#deps.attempted(sent, this.#lane, events.length, end.kind);
    if (end.kind === 'done') this.#deps.delivered(events, nowMs);
    const firstFailedAtMs = failingSinceMs(inHand, endpoint, nowMs);
    const { attempts, refusals } = this.#state;
    const isRefused = sent.attempt.kind === 'refused';
    const failedOnce = { attempts: attempts + 1, refusals: refusals + Number(isRefused), firstFailedAtMs };
    return this.#conclude(end, { tried, events, last }, failedOnce);
  }

  async #conclude(
    end: Verdict,
    { tried, events, last }: Omit<Delivery, 'message'> & { readonly tried: Tried },
    failedOnce: Pick<LaneState, 'attempts' | 'refusals' | 'firstFailedAtMs'>,
  ): Promise<boolean> {
    switch (end.kind) {
      case 'done':
        // The next delivery may begin to be looked for while this is written.
        void this.#save(done(last, this.#state), { tried });
        return true;
      case 'retry':
        // Until then its users may be erased.
        this.#batchEvents = null;
        return this.#save({ ...this.#state, ...failedOnce, nextAtMs: end.atMs }, { tried });
      case 'split':
        return this.#save({ ...this.#state, ...fresh, batch: null, singlesTo: last }, { tried });
      case 'park':
        return this.#save(done(last, this.#state), { tried, parked: { events, because: end.because, ...failedOnce } });
      case 'disable':
        await this.#save({ ...this.#state, ...failedOnce }, { tried, disabled: end.because });
        return false;
    }
  }

  #save(state: LaneState, more: Partial<Omit<LaneRecord, 'state'>> = {}): Promise<boolean> {
    this.#state = state;
    if (state.batch === null) this.#batchEvents = null;
    this.#passed = Math.max(this.#passed, state.position);
    return this.#record({ state, ...more });
  }

  #record(record: LaneRecord): Promise<boolean> {
    this.#recordedBefore = this.#recording;
    this.#recording = this.#deps.recorder.record(this.#lane, record);
    return this.#recording;
  }
}

const fresh = { attempts: 0, refusals: 0, firstFailedAtMs: null, nextAtMs: 0 } as const;

function done(last: number, { singlesTo }: LaneState): LaneState {
  return {
    ...fresh,
    position: last,
    batch: null,
    singlesTo: singlesTo !== null && singlesTo > last ? singlesTo : null,
  };
}

function deliveryOf(endpointId: string, events: readonly LogEvent[], positions: readonly number[]): Delivery {
  return { message: messageOf(endpointId, events, positions), events, last: positions.at(-1) ?? 0 };
}
