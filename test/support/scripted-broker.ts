// A broker of a test's own, for one client: what it delivers, when, and when it hangs up is the test's to say. It keeps the session, delivers
// again what was not acknowledged (DUP, the same packet id), in order, and notes every PUBACK that does not come in that order.

import net from 'node:net';
import { generate, type Packet, parser } from 'mqtt-packet';

/** The number tells the messages apart, whatever they say. */
export type Outgoing = { readonly n: number; readonly topic: string; readonly payload: string };

export type ScriptedBroker = AsyncDisposable & {
  readonly url: string;
  readonly publish: (messages: readonly Outgoing[]) => void;
  readonly cut: () => void;
  /** Sends an unacknowledged message once more on the same connection, as brokers with a retry interval do; false when there is none. */
  readonly repeat: (choose: (among: number) => number) => boolean;
  /** Messages that are not acknowledged yet, those that were not sent yet included. */
  readonly unsettled: () => number;
  readonly violations: readonly string[];
  readonly isListenedTo: () => boolean;
  readonly connections: () => number;
};

type Options = {
  /** How many messages may be unacknowledged at once. */
  readonly window: number;
  /** A small number uses them again soon. */
  readonly packetIdsMax: number;
  readonly onAcknowledged: (n: number) => void;
};

type Sent = Outgoing & { readonly packetId: number };

export async function startScriptedBroker(options: Options): Promise<ScriptedBroker> {
  const session = new Session(options);
  const server = net.createServer((socket) => session.accept(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  return {
    url: `mqtt://127.0.0.1:${port}`,
    publish: (messages) => session.publish(messages),
    cut: () => session.cut(),
    repeat: (choose) => session.repeat(choose),
    unsettled: () => session.unsettled,
    violations: session.violations,
    isListenedTo: () => session.isListenedTo,
    connections: () => session.connections,
    async [Symbol.asyncDispose]() {
      session.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What the broker keeps for its one client, connected or not. */
class Session {
  readonly violations: string[] = [];
  connections = 0;
  readonly #options: Options;
  readonly #waiting: Outgoing[] = [];
  #inflight: Sent[] = [];
  #socket: net.Socket | null = null;
  #version = 5;
  #isSubscribed = false;
  #lastId = 0;
  /** Packet ids in the order in which they were sent on this connection: what is sent twice is acknowledged twice. */
  #owed: number[] = [];

  constructor(options: Options) {
    this.#options = options;
  }

  get unsettled(): number {
    return this.#waiting.length + this.#inflight.length;
  }

  get isListenedTo(): boolean {
    return this.#socket !== null && this.#isSubscribed;
  }

  accept(socket: net.Socket): void {
    const packets = parser({ protocolVersion: 5 });
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => packets.parse(bytes));
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = null;
    });
    packets.on('error', () => socket.destroy());
    packets.on('packet', (packet: Packet) => this.#hear(socket, packet));
  }

  publish(messages: readonly Outgoing[]): void {
    this.#waiting.push(...messages);
    this.#flow();
  }

  cut(): void {
    this.#socket?.destroy();
  }

  repeat(choose: (among: number) => number): boolean {
    const sent = this.#inflight[choose(this.#inflight.length)];
    if (sent === undefined || this.#socket === null) return false;
    this.#send(sent, true);
    return true;
  }

  #hear(socket: net.Socket, packet: Packet): void {
    if (packet.cmd === 'connect') this.#connect(socket, packet.protocolVersion ?? 4);
    else if (this.#socket !== socket) socket.destroy();
    else if (packet.cmd === 'subscribe') {
      this.#isSubscribed = true;
      this.#write({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: packet.subscriptions.map(() => 1) });
      this.#flow();
    } else if (packet.cmd === 'pingreq') this.#write({ cmd: 'pingresp' });
    else if (packet.cmd === 'puback') this.#settle(packet.messageId ?? 0);
    else if (packet.cmd === 'disconnect') socket.destroy();
  }

  #connect(socket: net.Socket, version: number): void {
    this.#socket?.destroy();
    this.#socket = socket;
    this.#version = version;
    this.#owed = [];
    const sessionPresent = this.connections > 0;
    this.connections += 1;
    this.#write({ cmd: 'connack', reasonCode: 0, returnCode: 0, sessionPresent });
    for (const sent of this.#inflight) this.#send(sent, true);
    this.#flow();
  }

  #settle(packetId: number): void {
    const expected = this.#owed.shift();
    if (expected !== packetId) this.violations.push(`PUBACK ${packetId}, not ${expected}`);
    const sent = this.#inflight.find((one) => one.packetId === packetId);
    if (sent === undefined) return;
    this.#inflight = this.#inflight.filter((one) => one !== sent);
    this.#options.onAcknowledged(sent.n);
    this.#flow();
  }

  #flow(): void {
    while (this.isListenedTo && this.#inflight.length < this.#options.window) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const sent = { ...next, packetId: this.#nextId() };
      this.#inflight.push(sent);
      this.#send(sent, false);
    }
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId % this.#options.packetIdsMax) + 1;
    while (this.#inflight.some(({ packetId }) => packetId === this.#lastId));
    return this.#lastId;
  }

  #send({ topic, payload, packetId }: Sent, dup: boolean): void {
    this.#owed.push(packetId);
    this.#write({ cmd: 'publish', topic, payload, qos: 1, dup, retain: false, messageId: packetId });
  }

  #write(packet: Packet): void {
    this.#socket?.write(generate(packet, { protocolVersion: this.#version }));
  }
}
