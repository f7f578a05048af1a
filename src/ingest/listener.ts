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
/** A message that waited longer for its commit was not alone: others may be waiting at the broker, unread. */
const behindMsMin = 500;
const unaskedMsMax = 1_000;
/** For a process that never catches up: deadlines that are overdue by so much lapse all the same. */
const behindHoldMsMax = 30_000;
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
  #behindAtMs = 0;
  #askedAtMs = 0;

  constructor(deps: ListenerDeps) {
    this.#deps = deps;
  }

  /** The holder's lease, and the moment up to which deadlines may lapse (I6); null while they may not. Asked several times a second. */
  lapseHorizon(nowMs: number): { readonly lease: Lease; readonly untilMs: number } | null {
    // A process that did not get to run has not read either.
    if (nowMs - this.#askedAtMs > unaskedMsMax) this.#behindAtMs = nowMs;
    this.#askedAtMs = nowMs;
    const listening = this.#listening;
    if (listening === null || listening.connection.closed.aborted) return null;
    if (nowMs - listening.connection.upSinceMs <= this.#deps.graceMs) return null;
    // What was received and is not committed yet may be the birth that saves a session.
    const readMs = Math.min(nowMs, listening.connection.oldestPendingMs() ?? nowMs);
    const untilMs = this.isSteady(nowMs) ? readMs : readMs - behindHoldMsMax;
    return { lease: listening.lease, untilMs };
  }

  /** Whether this process has kept up with the broker for as long as the grace: else births may be waiting at the broker (I6). */
  isSteady(nowMs: number): boolean {
    const upSinceMs = this.#listening?.connection.upSinceMs ?? nowMs;
    return nowMs - Math.max(upSinceMs, this.#behindAtMs) > this.#deps.graceMs;
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
    try {
      if (!connection.hasSession) this.#newSessionAtMs = connection.upSinceMs;
      if (this.#newSessionAtMs !== null) await this.#deps.recordNewBrokerSession(lease, this.#newSessionAtMs);
      this.#newSessionAtMs = null;
      this.#listening = { lease, connection, persist: (step) => this.#persist(step, connection, signal) };
      this.state = 'listening';
      const { hasSession } = connection;
      logger.info({ event: 'link.up', protocolVersion: this.#protocolVersion, hasSession });
      await this.#tell(lease).catch(() => false);
      await this.#settleAll(this.#listening);
    } finally {
      over.removeEventListener('abort', stopTaking);
      this.#listening = null;
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

  async #settleAll(listening: Listening): Promise<void> {
    for (;;) {
      const batch = await listening.connection.take(batchMessagesMax);
      if (batch.length === 0) return;
      await this.#deps.settle(batch, listening);
      const [oldest] = batch;
      const nowMs = this.#deps.connection.nowMs();
      if (oldest !== undefined && nowMs - oldest.receivedAtMs > behindMsMin) this.#behindAtMs = nowMs;
    }
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    const known = this.#protocolVersion;
    try {
      return await connect({ ...this.#deps.connection, protocolVersion: known }, signal);
    } catch (error) {
      if (!(error instanceof ConnectError) || !error.mayBeVersion) throw error;
    }
    // A broker that knows one version only refuses the other, or just closes.
    const other = known === 5 ? 4 : 5;
    const connection = await connect({ ...this.#deps.connection, protocolVersion: other }, signal);
    this.#protocolVersion = other;
    return connection;
  }

  #tell(lease: Lease): Promise<boolean> {
    const connection = this.#listening?.connection;
    const isUp = connection !== undefined && !connection.closed.aborted;
    const link = { connectedSinceMs: isUp ? connection.upSinceMs : null, heardAtMs: connection?.heardAtMs() ?? null };
    return this.#deps.renewLease(lease, { ...link, leaseMs });
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
