// Which lanes run in this process: its fair share of all of them, leased. The lease is renewed every second; a lane whose lease ran out by
// this process's own clock sends nothing more, whatever the database says, and a lane that another process has taken is dropped.

import type { Logger } from '../runtime/logger.ts';
import { loop, pause } from '../runtime/loop.ts';
import { type Endpoint, type Lane, type LaneDeps, LaneRun } from './lane.ts';
import { type Holder, keyOf } from './recorder.ts';

export type LanesDeps = {
  readonly renew: (leaseMs: number) => Promise<readonly Holder[]>;
  readonly fairShare: (endpointIds: readonly string[]) => Promise<number>;
  readonly claim: (leaseMs: number, lanesMax: number, endpointIds: readonly string[]) => Promise<readonly Lane[]>;
  readonly release: (lanes: readonly Holder[]) => Promise<void>;
  /** This process takes no part any more, and holds nothing. */
  readonly leave: () => Promise<void>;
  /** Those that are enabled. */
  readonly listEndpoints: () => Promise<readonly Endpoint[]>;
  /** Asked after every renewal, for each endpoint whose first lane runs here; `endpoint` tells whether that is still so. */
  readonly attend: (
    endpointId: string,
    endpoint: (id: string) => Endpoint | null,
    signal: AbortSignal,
  ) => Promise<void>;
  readonly lane: Omit<LaneDeps, 'endpoint' | 'isHeld'>;
  readonly logger: Logger;
};

/** How long the lanes of a process that dies or is stopped wait. */
const leaseMs = 6_000;
/** Ours ends earlier than the database's. */
const safetyMs = 1_000;
const renewEveryMs = 1_000;
/** How far idle lanes are is recorded so often, all of them in one statement: they pass events all the time, and one by one would be a write for each. */
const progressEveryMs = 3_000;
/** What is being sent when the process stops may be answered for so long. */
const finishMsMax = 2_000;
const claimMax = 500;
const backOff = { firstMs: 100, lastMs: 2_000 };

type Running = {
  readonly lane: Lane;
  readonly run: LaneRun;
  readonly stop: AbortController;
  readonly kill: AbortController;
  readonly ended: Promise<void>;
};

export type Lag = {
  readonly endpointId: string;
  readonly events: number;
  readonly oldestAtMs: number | null;
  /** Null while it works. */
  readonly failingSinceMs: number | null;
};

export class Lanes {
  readonly #deps: LanesDeps;
  readonly #running = new Map<string, Running>();
  /** Held, and not run: they have ended here, or are ours by a claim whose answer was lost. */
  #idle: readonly Holder[] = [];
  #endpoints: ReadonlyMap<string, Endpoint> = new Map();
  /** By the clock that goes on while the process is stopped. */
  #heldUntilMs = 0;
  #progressAtMs = 0;
  #hinted = Promise.withResolvers<void>();
  readonly #attending = new Map<string, Promise<void>>();
  #expiry: NodeJS.Timeout | undefined;

  constructor(deps: LanesDeps) {
    this.#deps = deps;
  }

  /** An endpoint was changed. */
  hint(): void {
    this.#hinted.resolve();
  }

  /** How far the endpoints are behind, by what this process runs of them. */
  lags(): readonly Lag[] {
    const lags = new Map<string, Lag>();
    for (const { lane, run } of this.#running.values()) {
      const before = lags.get(lane.endpointId);
      const events = Math.max(0, this.#deps.lane.log.head - run.passed);
      const oldestAtMs = Math.min(run.oldestAtMs ?? Infinity, before?.oldestAtMs ?? Infinity);
      lags.set(lane.endpointId, {
        endpointId: lane.endpointId,
        events: Math.max(events, before?.events ?? 0),
        oldestAtMs: Number.isFinite(oldestAtMs) ? oldestAtMs : null,
        failingSinceMs: this.#endpoints.get(lane.endpointId)?.failingSinceMs ?? null,
      });
    }
    return [...lags.values()];
  }

  get count(): number {
    return this.#running.size;
  }

  async run(signal: AbortSignal, onSuccess: () => void): Promise<void> {
    const { logger } = this.#deps;
    const step = async (): Promise<number> => {
      this.#hinted = Promise.withResolvers<void>();
      await this.#renew();
      await this.#share();
      this.#attend(signal);
      this.#noteProgress();
      onSuccess();
      const waiting = new AbortController();
      await Promise.race([this.#hinted.promise, pause(renewEveryMs, AbortSignal.any([signal, waiting.signal]))]);
      waiting.abort();
      return 0;
    };
    await loop(step, { name: 'lanes', signal, logger, backOff });
    await this.#close();
  }

  async #renew(): Promise<void> {
    const askedAtMs = performance.now();
    const renewed = await this.#deps.renew(leaseMs);
    const held = new Map(renewed.map((lane) => [keyOf(lane), lane.token]));
    this.#heldUntilMs = askedAtMs + leaseMs - safetyMs;
    this.#endIn(this.#heldUntilMs - performance.now());
    this.#idle = renewed.filter((lane) => this.#running.get(keyOf(lane))?.lane.token !== lane.token);
    for (const [key, { lane, stop, kill }] of this.#running) {
      if (held.get(key) === lane.token) continue;
      end(stop, kill);
    }
    this.#endpoints = new Map((await this.#deps.listEndpoints()).map((endpoint) => [endpoint.id, endpoint]));
    for (const { lane, stop } of this.#running.values()) if (!this.#endpoints.has(lane.endpointId)) stop.abort();
  }

  /** Ends what runs when the lease was not renewed by then; what waits for its turn to be sent must not be sent later. */
  #endIn(ms: number): void {
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => {
      for (const { stop, kill } of this.#running.values()) end(stop, kill);
    }, ms);
  }

  /** Gives back what is too much, and takes what nobody holds. */
  async #share(): Promise<void> {
    if (this.#idle.length > 0) await this.#deps.release(this.#idle);
    // Not those whose secret cannot be opened here: another process may have the key.
    const ids = [...this.#endpoints.keys()];
    const wanted = (await this.#deps.fairShare(ids)) - this.#running.size;
    if (wanted < 0) for (const { stop } of [...this.#running.values()].slice(wanted)) stop.abort();
    for (let left = wanted; left > 0; ) {
      const lanesMax = Math.min(left, claimMax);
      const claimed = await this.#deps.claim(leaseMs, lanesMax, ids);
      for (const lane of claimed) this.#start(lane);
      left = claimed.length < lanesMax ? 0 : left - lanesMax;
    }
  }

  #start(lane: Lane): void {
    const key = keyOf(lane);
    // It was divided or handed over since the renewal: what ran until now is not ours any more.
    const before = this.#running.get(key);
    if (before !== undefined) end(before.stop, before.kill);
    const stop = new AbortController();
    const kill = new AbortController();
    const run = new LaneRun(lane, {
      ...this.#deps.lane,
      endpoint: () => this.#endpoints.get(lane.endpointId) ?? null,
      isHeld: () => !kill.signal.aborted && performance.now() < this.#heldUntilMs,
    });
    const work = async (): Promise<void> => {
      try {
        await run.run(stop.signal, kill.signal);
      } catch (error) {
        const { endpointId, lane: number } = lane;
        if (!kill.signal.aborted)
          this.#deps.logger.warn({ event: 'lane.failed', endpointId, lane: number, err: error });
      }
      if (this.#running.get(key)?.lane === lane) this.#running.delete(key);
    };
    this.#running.set(key, { lane, run, stop, kill, ended: work() });
  }

  /** What one process has to do for each endpoint falls to the one that runs its first lane; in the background, one at a time. */
  #attend(signal: AbortSignal): void {
    for (const { lane } of this.#running.values()) {
      const { endpointId } = lane;
      if (lane.lane !== 0 || this.#attending.has(endpointId)) continue;
      const attend = async (): Promise<void> => {
        try {
          await this.#deps.attend(endpointId, (id) => this.#attended(id), signal);
        } catch (error) {
          if (!signal.aborted) this.#deps.logger.warn({ event: 'parked.failed', endpointId, err: error });
        }
        this.#attending.delete(endpointId);
      };
      this.#attending.set(endpointId, attend());
    }
  }

  #noteProgress(): void {
    if (performance.now() < this.#progressAtMs + progressEveryMs) return;
    this.#progressAtMs = performance.now();
    for (const { run } of this.#running.values()) run.noteProgress();
  }

  #attended(endpointId: string): Endpoint | null {
    const isMine = [...this.#running.values()].some(({ lane }) => lane.lane === 0 && lane.endpointId === endpointId);
    return isMine && performance.now() < this.#heldUntilMs ? (this.#endpoints.get(endpointId) ?? null) : null;
  }

  async #close(): Promise<void> {
    const running = [...this.#running.values()];
    for (const { stop } of running) stop.abort();
    const timer = setTimeout(() => {
      for (const { kill } of running) kill.abort(new Error('the process stops'));
    }, finishMsMax);
    await Promise.all([...running.map(({ ended }) => ended), ...this.#attending.values()]);
    clearTimeout(timer);
    clearTimeout(this.#expiry);
    try {
      await this.#deps.leave();
    } catch (error) {
      this.#deps.logger.warn({ event: 'lanes.unreleased', err: error });
    }
  }
}

function end(stop: AbortController, kill: AbortController): void {
  const lost = new Error('the lane is held by another process, or gone');
  stop.abort(lost);
  kill.abort(lost);
}
