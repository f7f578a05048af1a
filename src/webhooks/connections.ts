// The connections to receivers: kept for reuse while they are busy, bounded in number, opened to allowed addresses only.
// Who finds as many requests to a URL under way as it may have waits for a turn here, not in a queue whose time counts against the receiver.

import { Agent, type buildConnector } from 'undici';

export const headerBytesMax = 16_384;
/** Shorter than what servers commonly keep an idle connection for, so that a request seldom meets one being closed. */
export const idleMsMax = 4_000;

export type ConnectionLimits = {
  readonly requestsPerUrlMax: number;
  readonly connectionsPerOriginMax: number;
  readonly originsMax: number;
};

/** Keeps connections for reuse. After `originsMax` origins it starts anew, so that those no longer called are forgotten. */
export class Agents {
  readonly #make: () => Agent;
  readonly #originsMax: number;
  #current: Agent;
  readonly #origins = new Set<string>();
  readonly #retiring = new Set<Agent>();

  constructor(connect: buildConnector.connector, limits: ConnectionLimits) {
    // The timeouts of undici are off: `exchange` has one clock for all of a request.
    const timeouts = { headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: idleMsMax, keepAliveMaxTimeout: idleMsMax };
    const sizes = { pipelining: 1, connections: limits.connectionsPerOriginMax, maxHeaderSize: headerBytesMax };
    this.#make = () => new Agent({ connect, allowH2: false, ...timeouts, ...sizes });
    this.#originsMax = limits.originsMax;
    this.#current = this.#make();
  }

  for(origin: string): Agent {
    if (!this.#origins.has(origin) && this.#origins.size >= this.#originsMax) this.#startAnew();
    this.#origins.add(origin);
    return this.#current;
  }

  #startAnew(): void {
    const old = this.#current;
    this.#current = this.#make();
    this.#origins.clear();
    this.#retiring.add(old);
    // Closing waits for the requests under way, which the clock ends.
    old.close(() => this.#retiring.delete(old));
  }

  async destroy(): Promise<void> {
    await Promise.all([this.#current, ...this.#retiring].map((agent) => agent.destroy()));
  }
}

/** So many requests at a time for each URL; the others wait, first come, first served. */
export class Turns {
  readonly #max: number;
  readonly #urls = new Map<string, { free: number; readonly waiting: Set<() => void> }>();

  constructor(max: number) {
    this.#max = max;
  }

  async take(url: string, signal: AbortSignal): Promise<Disposable> {
    const places = this.#urls.get(url) ?? { free: this.#max, waiting: new Set() };
    this.#urls.set(url, places);
    if (places.free > 0) places.free -= 1;
    else await turnIn(places.waiting, signal);
    return {
      [Symbol.dispose]: () => {
        const [next] = places.waiting;
        if (next !== undefined) next();
        else places.free += 1;
        if (places.free === this.#max) this.#urls.delete(url);
      },
    };
  }
}

function turnIn(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const leave = () => {
    waiting.delete(enter);
    reject(signal.reason);
  };
  const enter = () => {
    waiting.delete(enter);
    signal.removeEventListener('abort', leave);
    resolve();
  };
  waiting.add(enter);
  signal.addEventListener('abort', leave, { once: true });
  return promise;
}
