// The link to the broker under one client id, for as long as its ingest lease is held: connections, one after the other, on which all that
// comes is settled. It is dropped on purpose when the lease is lost, which is also what happens when the database stays away: the broker
// keeps what is not acknowledged, and delivers it again to whoever holds the lease next. What else a connection is for is its user's to say.

import type { Logger } from '../runtime/logger.ts';
import { backOffMs, pause } from '../runtime/loop.ts';
import { ConnectError } from './connect-error.ts';
import { type Connection, type ConnectionOptions, connect, type ProtocolVersion } from './connection.ts';
import { keepLease, type Lease, type LinkState, leaseMs } from './lease.ts';
import type { Message } from './message.ts';

/** In doubt: whoever held it last did not live to record whether the broker still had our session. */
export type Claim = Lease & { readonly isInDoubt: boolean };

export type LinkDeps = {
  readonly renewLease: (lease: Lease, link: LinkState & { readonly leaseMs: number }) => Promise<boolean>;
  readonly releaseLease: (lease: Lease, isInDoubt: boolean) => Promise<void>;
  /** The broker has not kept our session: what was sent for it may be lost. */
  readonly recordNewBrokerSession: (lease: Lease, atMs: number) => Promise<void>;
  /** Settles the batches of one connection, which come in their order. */
  readonly settler: (listening: Listening) => (batch: readonly Message[]) => Settling;
  /** Errors after which trying again on this connection is of no use. */
  readonly isFinal: (error: unknown) => boolean;
  readonly connection: Omit<ConnectionOptions, 'protocolVersion'>;
  readonly logger: Logger;
};

export type Listening = {
  readonly lease: Lease;
  readonly connection: Connection;
  /** Repeats a step while the database is away and the connection lasts. */
  readonly persist: <Result>(step: (isRetry: boolean) => Promise<Result>) => Promise<Result>;
};

/** A batch on its way. The next one may be begun when this one is decided, and is committed and acknowledged after it. */
export type Settling = {
  /** Resolves when it is over, too. */
  readonly decided: Promise<unknown>;
  /** Committed and acknowledged; rejects when it was given up. */
  readonly done: Promise<void>;
};

export type Held = {
  readonly lease: Lease;
  /** The process is to stop. */
  readonly signal: AbortSignal;
  /** The lease was lost, or the process is to stop. */
  readonly over: AbortSignal;
  readonly lose: (why: string) => void;
  /** From here on the lease runs out by itself. */
  readonly stopRenewing: () => Promise<void>;
};

/** Half of what the broker may send ahead: the other half is received while this one is committed. */
const batchMessagesMax = 500;
const databaseBackOff = { firstMs: 50, lastMs: 1_000 };

export class Link {
  readonly #deps: LinkDeps;
  readonly #told: () => Pick<LinkState, 'connectedSinceMs' | 'caughtUpAtMs'>;
  #listening: Listening | null = null;
  #protocolVersion: ProtocolVersion = 5;
  /** When the broker told that it had not kept our session; kept until it is recorded, because it tells so only once. */
  #newSessionAtMs: number | null = null;
  /** From before CONNECT until its answer: a process that dies in between leaves word that it may have been told so. */
  #isConnecting = false;

  /** `told` is asked for every renewal of the lease. */
  constructor(deps: LinkDeps, told: () => Pick<LinkState, 'connectedSinceMs' | 'caughtUpAtMs'>) {
    this.#deps = deps;
    this.#told = told;
  }

  get listening(): Listening | null {
    return this.#listening;
  }

  /** Keeps the lease while the work lasts, then releases it. */
  async hold(
    claim: Claim,
    signal: AbortSignal,
    work: (held: Held) => Promise<void>,
    onRenewed?: () => void,
  ): Promise<void> {
    const { logger } = this.#deps;
    if (claim.isInDoubt) this.#newSessionAtMs ??= this.#deps.connection.nowMs();
    const lost = new AbortController();
    const done = new AbortController();
    const renew = async () => {
      const isHeld = await this.tell(claim);
      onRenewed?.();
      return isHeld;
    };
    const keeping = keepLease(renew, { lost, signal: AbortSignal.any([signal, done.signal]), logger });
    lost.signal.addEventListener('abort', () => {
      this.#listening?.connection.drop('the ingest lease was lost');
      if (!signal.aborted)
        logger.warn({ event: 'lease.lost', clientId: claim.clientId, err: lost.signal.reason as unknown });
    });
    const stopRenewing = async () => {
      done.abort();
      await keeping;
    };
    const over = AbortSignal.any([signal, lost.signal]);
    const lose = (why: string) => lost.abort(new Error(why));
    try {
      await work({ lease: claim, signal, over, lose, stopRenewing });
    } finally {
      await stopRenewing();
      await this.#deps
        .releaseLease(claim, this.#isInDoubt())
        .catch((error: unknown) => logger.warn({ event: 'lease.unreleased', err: error }));
    }
  }

  /** One connection, from CONNECT to close; it ends when `duty` fails. */
  async listen(held: Held, duty: (listening: Listening) => Promise<void>): Promise<void> {
    const { lease, signal, over } = held;
    const connection = await this.#open(held);
    if (connection === null) return;
    const stopTaking = () => connection.stopTaking();
    over.addEventListener('abort', stopTaking);
    if (over.aborted) stopTaking();
    try {
      // Either way nobody is in doubt any more, and before anything is settled.
      if (this.#newSessionAtMs === null) await this.tell(lease);
      else await this.#deps.recordNewBrokerSession(lease, this.#newSessionAtMs);
      this.#newSessionAtMs = null;
      const persist: Listening['persist'] = (step) => this.#persist(step, connection, signal);
      const listening = { lease, connection, persist };
      this.#listening = listening;
      const doing = duty(listening).catch((error: unknown) => {
        connection.drop('it is of no use');
        throw error;
      });
      const ends = await Promise.allSettled([this.#settleAll(listening), doing]);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    } finally {
      over.removeEventListener('abort', stopTaking);
      this.#listening = null;
      await connection[Symbol.asyncDispose]();
    }
  }

  /** Renews the lease, and tells how the link is. False when the lease was lost. */
  tell(lease: Lease): Promise<boolean> {
    const heardAtMs = this.#listening?.connection.heardAtMs() ?? null;
    return this.#deps.renewLease(lease, { ...this.#told(), heardAtMs, isInDoubt: this.#isInDoubt(), leaseMs });
  }

  /** Null when the lease was lost meanwhile. */
  async #open({ lease, over, lose }: Held): Promise<Connection | null> {
    this.#isConnecting = true;
    try {
      // Asked before every CONNECT: connecting would take the broker's session away from another holder.
      if (!(await this.tell(lease))) {
        lose('the ingest lease is held by another process');
        return null;
      }
      const connection = await this.#connect(over);
      if (!connection.hasSession) this.#newSessionAtMs = connection.connectedAtMs;
      return connection;
    } finally {
      this.#isConnecting = false;
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

  async #settleAll(listening: Listening): Promise<void> {
    const { connection } = listening;
    const settle = this.#deps.settler(listening);
    let before = Promise.resolve();
    for (;;) {
      const batch = await connection.take(batchMessagesMax);
      if (batch.length === 0) return before;
      const { decided, done } = settle(batch);
      // Whoever waits for the next message hears of it.
      done.catch(() => connection.drop('a batch could not be settled'));
      await decided;
      await before.catch(async (error: unknown) => {
        // What was begun behind it is given up too, and does not go on beside the next connection.
        await done.catch(() => undefined);
        throw error;
      });
      before = done;
    }
  }

  #isInDoubt(): boolean {
    return this.#isConnecting || this.#newSessionAtMs !== null;
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
