// One network connection to the broker, from CONNECT to close; the next one is another object. Messages are kept back unacknowledged until
// whoever took them says so, and PUBACKs go out in arrival order on the connection that their messages came by (I9): a PUBACK on a later
// connection could acknowledge another message that was given the same packet id.
//
// MQTT.js sends a PUBACK when `handleMessage` calls back without an error. Called back with one, it goes on with the next packet and sends
// none; the PUBACKs are then written to the stream here, many at once.

import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { generate } from 'mqtt-packet';
import { ConnectError, connectErrorOf, messageOfError } from './connect-error.ts';
import type { Message } from './message.ts';
import { Pending } from './pending.ts';
import { type Transport, transportOptions } from './transport.ts';

export type ProtocolVersion = 4 | 5;

export type ConnectionOptions = {
  readonly transport: Transport;
  readonly clientId: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly protocolVersion: ProtocolVersion;
  readonly filters: readonly string[];
  /** How long the broker keeps our session, and what it queues for it, while we are away. */
  readonly sessionExpirySeconds: number;
  readonly nowMs: () => number;
};

export type Connection = AsyncDisposable & {
  /** Whether the broker has kept our session, with what it queued for it. */
  readonly hasSession: boolean;
  readonly connectedAtMs: number;
  readonly protocolVersion: ProtocolVersion;
  /** Messages may come before it is done: a broker delivers what it queued first, however long that takes. */
  readonly subscribe: () => Promise<void>;
  /** From here on the broker queues nothing more for our session; what it has, it still delivers. */
  readonly unsubscribe: () => Promise<void>;
  /** Aborts when the connection is over, for whatever reason. */
  readonly closed: AbortSignal;
  /** The last packet from the broker. */
  readonly heardAtMs: () => number;
  /** Asks the broker for a sign of life, which moves `heardAtMs`. */
  readonly probe: () => void;
  /** The last moment of which it is known that all the broker had for us then is settled; null while there is none (see Pending). */
  readonly caughtUpAtMs: () => number | null;
  /** When the oldest message was received that is not acknowledged yet; null when there is none. */
  readonly oldestPendingMs: () => number | null;
  /** Waits for at least one message; an empty list means that the connection is over, or was told to stop. */
  readonly take: (messagesMax: number) => Promise<readonly Message[]>;
  /** The messages of the last `take`, all of them. Nothing happens when the connection is over: the broker delivers them again. */
  readonly acknowledge: (messages: readonly Message[]) => void;
  /** From here on `take` gives nothing; what was taken can still be acknowledged. */
  readonly stopTaking: () => void;
  /** Ends it, and the broker's session with it (MQTT 5; by 3.1.1 an empty session stays until the broker discards it). */
  readonly endSession: () => Promise<void>;
  /** Ends it without a DISCONNECT: the broker keeps what was not acknowledged and delivers it again. */
  readonly drop: (why: string) => void;
};

const connectTimeoutMs = 10_000;
const disconnectTimeoutMs = 1_000;
/** A half-open link is noticed after 1.5 of these. */
const keepAliveSeconds = 5;
/** What we let the broker send ahead of our acknowledgements (MQTT 5); its own window may be smaller. */
const receiveMaximum = 1_000;
/** The broker discards what is larger (MQTT 5); nothing that means anything is larger than 4 KiB. */
const packetBytesMax = 1024 * 1024;

export async function connect(options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
  signal.throwIfAborted();
  const client = mqtt.connect({ ...transportOptions(options.transport), ...clientOptions(options) });
  const pending = new Pending(client, options.nowMs);
  const closing = new AbortController();
  let heardAtMs = options.nowMs();
  client.on('packetreceive', () => {
    heardAtMs = options.nowMs();
  });
  // Of its own errors MQTT.js tells not all: a WebSocket that was refused would just be closed.
  client.stream.on('error', (error) => closing.abort(error));
  client.once('close', () => closing.abort(new Error('the connection to the broker was closed')));
  // Without a listener an error event ends the process; the connection is over either way.
  client.on('error', (error) => closing.abort(error));
  closing.signal.addEventListener('abort', () => pending.close());
  const drop = (why: string): void => {
    closing.abort(new Error(why));
    client.end(true);
  };
  try {
    const hasSession = await connack(client, closing.signal, signal, options.transport);
    return {
      hasSession,
      connectedAtMs: options.nowMs(),
      protocolVersion: options.protocolVersion,
      subscribe: () => subscribe(client, options.filters, closing.signal),
      unsubscribe: () => unsubscribe(client, options.filters, closing.signal),
      closed: closing.signal,
      heardAtMs: () => heardAtMs,
      probe: () => {
        if (pending.wantsPing()) client.sendPing();
      },
      caughtUpAtMs: () => pending.caughtUpAtMs,
      oldestPendingMs: () => pending.oldestMs(),
      take: (messagesMax) => pending.take(messagesMax),
      acknowledge: (messages) => {
        pending.settle(messages);
        if (closing.signal.aborted) return;
        client.stream.write(pubacks(messages));
        if (pending.wantsPing()) client.sendPing();
      },
      stopTaking: () => pending.close(),
      endSession: () => {
        const isNewer = options.protocolVersion === 5;
        return disconnect(client, closing, isNewer ? { properties: { sessionExpiryInterval: 0 } } : {});
      },
      drop,
      [Symbol.asyncDispose]: () => disconnect(client, closing),
    };
  } catch (error) {
    drop('it could not be used');
    throw error;
  }
}

function clientOptions(options: ConnectionOptions): IClientOptions {
  const { clientId, username, password, protocolVersion, sessionExpirySeconds } = options;
  return {
    clientId,
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    protocolVersion,
    clean: false,
    keepalive: keepAliveSeconds,
    connectTimeout: connectTimeoutMs,
    reconnectPeriod: 0,
    resubscribe: false,
    ...(protocolVersion === 5
      ? {
          properties: {
            sessionExpiryInterval: sessionExpirySeconds,
            receiveMaximum,
            maximumPacketSize: packetBytesMax,
          },
        }
      : {}),
  };
}

/** Whether the broker has kept our session. */
async function connack(
  client: MqttClient,
  closed: AbortSignal,
  signal: AbortSignal,
  transport: Transport,
): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  client.once('connect', ({ sessionPresent }) => resolve(sessionPresent));
  const onClosed = () => reject(connectErrorOf(closed.reason, transport));
  closed.addEventListener('abort', onClosed);
  const onAbort = () => reject(new ConnectError('stopped while connecting', { problem: null }));
  signal.addEventListener('abort', onAbort);
  try {
    return await promise;
  } finally {
    closed.removeEventListener('abort', onClosed);
    signal.removeEventListener('abort', onAbort);
  }
}

async function subscribe(client: MqttClient, filters: readonly string[], closed: AbortSignal): Promise<void> {
  await answered(`no subscription to ${filters.join(' and ')}`, closed, (resolve, refuse) => {
    // Retain Handling 2: no replays of retained messages (MQTT 5); in 3.1.1 they come with the RETAIN flag and are not applied.
    client.subscribe([...filters], { qos: 1, rh: 2, rap: false }, (error, granted) => {
      if (error !== null) refuse(error);
      else if (granted?.some(({ qos }) => Number(qos) >= 128)) refuse(new Error('the broker refused it; see its ACL'));
      else resolve();
    });
  });
}

async function unsubscribe(client: MqttClient, filters: readonly string[], closed: AbortSignal): Promise<void> {
  await answered(`no end of the subscription to ${filters.join(' and ')}`, closed, (resolve, refuse) => {
    client.unsubscribe([...filters], (error, packet) => {
      // 3.1.1 has no codes; and where no such subscription is, none is refused.
      const isRefused = packet?.cmd === 'unsuback' && 'granted' in packet && packet.granted.some((code) => code >= 128);
      if (error instanceof Error) refuse(error);
      else if (isRefused) refuse(new Error('the broker refused it'));
      else resolve();
    });
  });
}

/** Waits for the answer to a request, or the end of the connection. */
async function answered(
  what: string,
  closed: AbortSignal,
  ask: (resolve: () => void, refuse: (cause: unknown) => void) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const refuse = (cause: unknown) =>
    reject(new ConnectError(`${what}: ${messageOfError(cause)}`, { cause, problem: null }));
  if (closed.aborted) refuse(closed.reason);
  closed.addEventListener('abort', () => refuse(closed.reason));
  ask(resolve, refuse);
  await promise;
}

async function disconnect(
  client: MqttClient,
  closing: AbortController,
  packet: Parameters<MqttClient['end']>[1] = {},
): Promise<void> {
  if (!closing.signal.aborted) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, disconnectTimeoutMs);
    client.end(false, packet, () => resolve());
    await promise;
    clearTimeout(timer);
  }
  closing.abort(new Error('disconnected'));
  client.end(true);
  // A client that is ending already takes no second end, and a broker that is silent never ends the connection.
  client.stream.destroy();
}

function pubacks(messages: readonly Message[]): Buffer {
  const packets: Buffer[] = [];
  for (const { packetId } of messages) {
    // Four bytes, in MQTT 5 too, where no reason code means success.
    if (packetId !== null) packets.push(generate({ cmd: 'puback', messageId: packetId }));
  }
  return Buffer.concat(packets);
}
