// Who listens. Of all processes with one client id, the holder of the ingest lease is connected to the broker, subscribed, and settles what
// comes; the others stand by. It knows up to when deadlines may lapse, because it knows what the broker may still have.

import type { Logger } from '../runtime/logger.ts';
import { backOffMs, loop } from '../runtime/loop.ts';
import { ConnectError, type ConnectProblem } from './connect-error.ts';
import type { Connection } from './connection.ts';
import { type Lease, type LinkState, leaseMs } from './lease.ts';
import { type Claim, type Held, Link, type LinkDeps, type Listening } from './link.ts';

export type ListenerDeps = {
  readonly acquireLease: (leaseMs: number) => Promise<Claim | null>;
  readonly link: LinkDeps;
  readonly graceMs: number;
  readonly nowMs: () => number;
  readonly logger: Logger;
};

export type ListenerState = 'starting' | 'standing-by' | 'connecting' | 'listening';

const standbyPollMs = 500;
/** For a process that falls behind for good: deadlines that are overdue by so much lapse all the same. */
const behindMsMax = 60_000;
/** After a connection that was of use. */
const reconnectBackOff = { firstMs: 250, lastMs: 10_000 };
const databaseBackOff = { firstMs: 50, lastMs: 1_000 };

export class Listener {
  state: ListenerState = 'starting';
  /** Why the last attempt to connect failed; null after one that did not. */
  problem: ConnectProblem | null = null;
  readonly #deps: ListenerDeps;
  readonly #link: Link;
  /** When the subscriptions were granted; null while the link is not up. */
  #upSinceMs: number | null = null;

  constructor(deps: ListenerDeps) {
    this.#deps = deps;
    this.#link = new Link(deps.link, () => this.#told());
  }

  /**
   * The holder's lease, and the moment up to which deadlines may lapse (I6); null while none may. Up to then the broker was heard, and
   * everything that it had was read and committed: a birth that would save a session cannot be waiting. 0 before the first such moment.
   */
  lapseHorizon(nowMs: number): { readonly lease: Lease; readonly untilMs: number } | null {
    const { listening } = this.#link;
    const upMs = this.#upMs(nowMs);
    if (listening === null || upMs <= this.#deps.graceMs) return null;
    const { connection, lease } = listening;
    const caughtUpAtMs = connection.caughtUpAtMs();
    // Before it has caught up once after a new link, nothing lapses; later on, nothing waits for ever.
    if (caughtUpAtMs === null) return { lease, untilMs: 0 };
    return { lease, untilMs: Math.min(nowMs, Math.max(caughtUpAtMs, nowMs - behindMsMax)) };
  }

  /** Up to when deadlines may lapse before a signal that finds them overdue (I6): the signal itself may have waited at the broker. */
  lapseUntilMs(receivedAtMs: number): number | null {
    const caughtUpAtMs = this.#link.listening?.connection.caughtUpAtMs() ?? null;
    return this.#upMs(receivedAtMs) > this.#deps.graceMs ? caughtUpAtMs : null;
  }

  /** When the oldest message was received that is not settled yet; null when there is none. */
  oldestPendingMs(): number | null {
    return this.#link.listening?.connection.oldestPendingMs() ?? null;
  }

  /** Asks the broker for a sign of life. */
  probe(): void {
    this.#open()?.probe();
  }

  /** The connection, while there is one. */
  #open(): Connection | null {
    const connection = this.#link.listening?.connection ?? null;
    return connection?.closed.aborted === false ? connection : null;
  }

  #upMs(nowMs: number): number {
    return this.#upSinceMs === null || this.#open() === null ? 0 : nowMs - this.#upSinceMs;
  }

  async run(signal: AbortSignal, onSuccess: () => void): Promise<void> {
    const { logger } = this.#deps;
    const step = async (): Promise<number> => {
      const claim = await this.#deps.acquireLease(leaseMs);
      if (claim !== null) {
        await this.#link.hold(claim, signal, (held) => this.#stayConnected(held), onSuccess);
        return 0;
      }
      if (this.state !== 'standing-by') logger.info({ event: 'listener.standing-by' });
      this.state = 'standing-by';
      return standbyPollMs;
    };
    await loop(step, { name: 'listener', signal, logger, backOff: databaseBackOff, onSuccess });
  }

  async #stayConnected(held: Held): Promise<void> {
    const { logger } = this.#deps;
    const step = async () => {
      this.state = 'connecting';
      let connection: Connection | null = null;
      try {
        await this.#link.listen(held, (listening) => {
          connection = listening.connection;
          return this.#subscribe(listening);
        });
      } catch (error) {
        if (error instanceof ConnectError) this.problem = error.problem;
        throw error;
      } finally {
        this.#upSinceMs = null;
        this.state = 'connecting';
        if (connection !== null) await this.#tellDown(connection, held);
      }
      return backOffMs(1, reconnectBackOff);
    };
    await loop(step, { name: 'link', signal: held.over, logger, backOff: reconnectBackOff });
  }

  async #subscribe({ lease, connection }: Listening): Promise<void> {
    await connection.subscribe();
    this.#upSinceMs = this.#deps.nowMs();
    this.state = 'listening';
    this.problem = null;
    const { protocolVersion, hasSession } = connection;
    this.#deps.logger.info({ event: 'link.up', protocolVersion, hasSession });
    await this.#link.tell(lease).catch(() => false);
  }

  async #tellDown({ closed }: Connection, { lease, signal }: Held): Promise<void> {
    const { logger } = this.#deps;
    if (signal.aborted) logger.info({ event: 'link.down' });
    else logger.warn({ event: 'link.down', err: closed.reason as unknown });
    await this.#link.tell(lease).catch(() => false);
  }

  #told(): Pick<LinkState, 'connectedSinceMs' | 'caughtUpAtMs'> {
    const connection = this.#open();
    const untilMs = this.lapseHorizon(this.#deps.nowMs())?.untilMs ?? 0;
    // Those who share the work rest on what is told here, so that it should be as new as the next telling.
    connection?.probe();
    return {
      connectedSinceMs: connection === null ? null : this.#upSinceMs,
      caughtUpAtMs: untilMs === 0 ? null : untilMs,
    };
  }
}
