// Who listens. Of all processes with one client id, the holder of the ingest lease is connected to the broker and settles what comes;
// the others stand by. The link is dropped on purpose when the lease is lost, which is also what happens when the database stays away:
// the broker keeps what is not acknowledged, and delivers it again to whoever listens next.

import type { Logger } from '../runtime/logger.ts';
import { backOffMs, loop, pause } from '../runtime/loop.ts';
import { ConnectError, type Connection, type ConnectionOptions, connect, type ProtocolVersion } from './connection.ts';
import { keepLease, type Lease, type LinkState, leaseMs } from './lease.ts';
import type { Message } from './message.ts';

export type ListenerDeps = {
  readonly acquireLease: (leaseMs: number) => Promise<Lease | null>;
  readonly renewLease: (lease: Lease, link: LinkState & { readonly leaseMs: number }) => Promise<boolean>;
  readonly releaseLease: (lease: Lease) => Promise<void>;
  /** The broker has not kept our session: what was sent for it may be lost. */
  readonly recordNewBrokerSession: (lease: Lease, atMs: number) => Promise<void>;
  /** Settles and acknowledges a batch, or throws. */
  readonly settle: (batch: readonly Message[], listening: Listening) => Promise<void>;
  /** Errors after which trying again on this connection is of no use. */
  readonly isFinal: (error: unknown) => boolean;
  readonly connection: Omit<ConnectionOptions, 'protocolVersion'>;
  readonly graceMs: number;
  readonly logger: Logger;
};

export type Listening = {
  readonly lease: Lease;
  readonly connection: Connection;
  /** Repeats a step while the database is away and the connection lasts. */
  readonly persist: <Result>(step: (isRetry: boolean) => Promise<Result>) => Promise<Result>;
};

export type ListenerState = 'starting' | 'standing-by' | 'connecting' | 'listening';

/** Half of what the broker may send ahead: the other half is received while this one is committed. */
const batchMessagesMax = 500;
const standbyPollMs = 500;
/** For a process that falls behind for good: deadlines that are overdue by so much lapse all the same. */
const behindMsMax = 60_000;
/** After a connection that was of use. */
const reconnectBackOff = { firstMs: 250, lastMs: 10_000 };
const databaseBackOff = { firstMs: 50, lastMs: 1_000 };

export class Listener {
  state: ListenerState = 'starting';
  readonly #deps: ListenerDeps;
  #listening: Listening | null = null;
  #protocolVersion: ProtocolVersion = 5;
  /** When the broker told that it had not kept our session; kept until it is recorded, because it tells so only once. */
  #newSessionAtMs: number | null = null;
  /** When the subscriptions were granted; null while the link is not up. */
  #upSinceMs: number | null = null;

  constructor(deps: ListenerDeps) {
    this.#deps = deps;
  }

  /**
   * The holder's lease, and the moment up to which deadlines may lapse (I6); null while none may. Up to then the broker was heard, and
   * everything that it had was read and committed: a birth that would save a session cannot be waiting. 0 before the first such moment.
   */
  lapseHorizon(nowMs: number): { readonly lease: Lease; readonly untilMs: number } | null {
    const listening = this.#listening;
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
    const caughtUpAtMs = this.#listening?.connection.caughtUpAtMs() ?? null;
    return this.#upMs(receivedAtMs) > this.#deps.graceMs ? caughtUpAtMs : null;
  }

  /** Asks the broker for a sign of life. */
  probe(): void {
    const connection = this.#listening?.connection;
    if (connection !== undefined && !connection.closed.aborted) connection.probe();
  }

  #upMs(nowMs: number): number {
    return this.#upSinceMs === null || this.#listening?.connection.closed.aborted !== false
      ? 0
      : nowMs - this.#upSinceMs;
  }

  async run(signal: AbortSignal, onSuccess: () => void): Promise<void> {
    const { logger } = this.#deps;
    const step = async (): Promise<number> => {
      const lease = await this.#deps.acquireLease(leaseMs);
      if (lease !== null) {
        await this.#hold(lease, signal, onSuccess);
        return 0;
      }
      if (this.state !== 'standing-by') logger.info({ event: 'listener.standing-by' });
      this.state = 'standing-by';
      return standbyPollMs;
    };
    await loop(step, { name: 'listener', signal, logger, backOff: databaseBackOff, onSuccess });
  }

  async #hold(lease: Lease, signal: AbortSignal, onSuccess: () => void): Promise<void> {
    const { logger } = this.#deps;
    const lost = new AbortController();
    const over = AbortSignal.any([signal, lost.signal]);
    const renew = async () => {
      const isHeld = await this.#tell(lease);
      onSuccess();
      return isHeld;
    };
    const keeping = keepLease(renew, { lost, signal, logger });
    lost.signal.addEventListener('abort', () => {
      this.#listening?.connection.drop('the ingest lease was lost');
      if (!signal.aborted) logger.warn({ event: 'lease.lost', err: lost.signal.reason as unknown });
    });
    const step = async () => {
      // Asked before every CONNECT: connecting would take the broker's session away from another holder.
      if (await this.#tell(lease)) await this.#listen(lease, signal, over);
      else lost.abort(new Error('the ingest lease is held by another process'));
      return backOffMs(1, reconnectBackOff);
    };
    await loop(step, { name: 'link', signal: over, logger, backOff: reconnectBackOff });
    lost.abort(new Error('no longer listening'));
    await keeping;
    await this.#deps
      .releaseLease(lease)
      .catch((error: unknown) => logger.warn({ event: 'lease.unreleased', err: error }));
  }

  /** One connection, from CONNECT to close. */
  async #listen(lease: Lease, signal: AbortSignal, over: AbortSignal): Promise<void> {
    const { logger } = this.#deps;
    this.state = 'connecting';
    const connection = await this.#connect(over);
    const stopTaking = () => connection.stopTaking();
    over.addEventListener('abort', stopTaking);
    if (over.aborted) stopTaking();
    try {
      if (!connection.hasSession) this.#newSessionAtMs = connection.connectedAtMs;
      if (this.#newSessionAtMs !== null) await this.#deps.recordNewBrokerSession(lease, this.#newSessionAtMs);
      this.#newSessionAtMs = null;
      const listening = {
        lease,
        connection,
        persist: (step) => this.#persist(step, connection, signal),
      } satisfies Listening;
      this.#listening = listening;
      const ends = await Promise.allSettled([this.#settleAll(listening), this.#subscribe(listening)]);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    } finally {
      over.removeEventListener('abort', stopTaking);
      this.#listening = null;
      this.#upSinceMs = null;
      this.state = 'connecting';
      const reason = connection.closed.reason as unknown;
      await connection[Symbol.asyncDispose]();
      logger[signal.aborted ? 'info' : 'warn']({
        event: 'link.down',
        ...(reason === undefined ? {} : { err: reason }),
      });
      await this.#tell(lease).catch(() => false);
    }
  }

  async #subscribe({ lease, connection }: Listening): Promise<void> {
    try {
      await connection.subscribe();
    } catch (error) {
      connection.drop('it has no subscriptions');
      throw error;
    }
    this.#upSinceMs = this.#deps.connection.nowMs();
    this.state = 'listening';
    const { protocolVersion, hasSession } = connection;
    this.#deps.logger.info({ event: 'link.up', protocolVersion, hasSession });
    await this.#tell(lease).catch(() => false);
  }

  async #settleAll(listening: Listening): Promise<void> {
    for (;;) {
      const batch = await listening.connection.take(batchMessagesMax);
      if (batch.length === 0) return;
      await this.#deps.settle(batch, listening);
    }
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    const known = this.#protocolVersion;
    try {
      return await connect({ ...this.#deps.connection, protocolVersion: known }, signal);
    } catch (error) {
      if (!(error instanceof ConnectError) || error.version === null) throw error;
      // A broker that knows one version only refuses the other, or just hangs up, as one that is starting does.
      const other = known === 5 ? 4 : 5;
      const connection = await connect({ ...this.#deps.connection, protocolVersion: other }, signal);
      if (error.version === 'refused') this.#protocolVersion = other;
      return connection;
    }
  }

  #tell(lease: Lease): Promise<boolean> {
    const connection = this.#listening?.connection;
    const isUp = connection !== undefined && !connection.closed.aborted;
    const link = { connectedSinceMs: isUp ? this.#upSinceMs : null, heardAtMs: connection?.heardAtMs() ?? null };
    const untilMs = this.lapseHorizon(this.#deps.connection.nowMs())?.untilMs ?? 0;
    // Those who share the work rest on what is told here, so that it should be as new as the next telling.
    if (isUp) connection.probe();
    return this.#deps.renewLease(lease, { ...link, caughtUpAtMs: untilMs === 0 ? null : untilMs, leaseMs });
  }

  async #persist<Result>(
    step: (isRetry: boolean) => Promise<Result>,
    connection: Connection,
    signal: AbortSignal,
  ): Promise<Result> {
    for (let failures = 0; ; ) {
      try {
        return await step(failures > 0);
      } catch (error) {
        failures += 1;
        if (this.#deps.isFinal(error) || connection.closed.aborted || signal.aborted) throw error;
        const waitMs = backOffMs(failures, databaseBackOff);
        this.#deps.logger[failures > 3 ? 'error' : 'warn']({ event: 'commit.failed', failures, waitMs, err: error });
        await pause(waitMs, connection.closed);
      }
    }
  }
}
