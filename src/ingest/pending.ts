// The messages of one connection that were received and are not acknowledged yet, in arrival order, bounded in number and bytes; and whether
// the broker has more for us than these. MQTT has no word for that, but it has an order: what a broker can deliver when it reads our PINGREQ,
// it has delivered before its PINGRESP. It holds messages back only when its window is full; so when fewer are in our hands at the PINGRESP
// than ever were at once, nothing was held back, and everything that it had for us at the PINGREQ is here.

import type { MqttClient } from 'mqtt';
import { type Message, messageOf } from './message.ts';

/** For a broker whose window is large, or unlimited: from here on its packets wait in the socket. */
const pendingMessagesMax = 4_000;
const pendingBytesMax = 8 * 1024 * 1024;
/** While messages come, it is asked so often whether they are all. */
const pingEveryMs = 100;
const pingsMax = 100;
/** A link on which packets come is alive, though the answer to a ping may stand in line behind them. */
const aliveEveryMs = 1_000;

/** Told to MQTT.js for every message, to keep its PUBACK back; made once, because an error costs its stack. */
const notYet = new Error('acknowledged after the commit');

export class Pending {
  readonly #nowMs: () => number;
  #waiting: Message[] = [];
  #taken: readonly Message[] = [];
  #bytes = 0;
  #isClosed = false;
  #wake: (() => void) | null = null;
  /** The callback that lets MQTT.js go on reading, kept while there is no room. */
  #goOn: (() => void) | null = null;
  #mostAtOnce = 0;
  #settledCount = 0;
  /** The PINGREQs that are not answered yet: when they were sent, and how many messages had been settled then. */
  readonly #pings: { readonly atMs: number; readonly settledCount: number }[] = [];
  #pingedAtMs = 0;
  /** A moment at which all was in our hands, and how many of them are still to be settled. */
  #mark: { readonly atMs: number; readonly left: number } | null = null;
  #caughtUpAtMs: number | null = null;
  #aliveAtMs: number;

  constructor(client: MqttClient, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#aliveAtMs = nowMs();
    client.on('packetsend', ({ cmd }) => cmd === 'pingreq' && this.#pingSent());
    client.on('packetreceive', ({ cmd }) => cmd === 'pingresp' && this.#pingAnswered());
    client.handleMessage = (packet, callback) => {
      const receivedAtMs = nowMs();
      if (receivedAtMs - this.#aliveAtMs > aliveEveryMs) {
        this.#aliveAtMs = receivedAtMs;
        client.reschedulePing(true);
      }
      this.#add(messageOf(packet, receivedAtMs), () => callback(packet.qos === 0 ? undefined : notYet));
    };
  }

  #add(message: Message, goOn: () => void): void {
    if (this.#isClosed) {
      // Nobody will take it: unacknowledged, it comes again on the next connection.
      goOn();
      return;
    }
    this.#waiting.push(message);
    this.#bytes += bytesOf(message);
    this.#wake?.();
    if (this.#hasRoom()) goOn();
    else this.#goOn = goOn;
  }

  async take(messagesMax: number): Promise<readonly Message[]> {
    while (this.#waiting.length === 0 && !this.#isClosed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = null;
    }
    if (this.#isClosed) return [];
    const taken = this.#waiting.slice(0, messagesMax);
    this.#waiting = this.#waiting.slice(messagesMax);
    this.#taken = this.#taken.concat(taken);
    return taken;
  }

  /** What was taken first is settled first. */
  settle(messages: readonly Message[]): void {
    this.#mostAtOnce = Math.max(this.#mostAtOnce, this.#count());
    this.#settledCount += messages.length;
    this.#taken = this.#taken.slice(messages.length);
    for (const message of messages) this.#bytes -= bytesOf(message);
    if (this.#mark !== null) this.#reach({ ...this.#mark, left: this.#mark.left - messages.length });
    if (this.#hasRoom()) this.#release();
  }

  /** Whether it is time to ask, behind the acknowledgements that were just written, whether there is more. */
  wantsPing(): boolean {
    return this.#nowMs() - this.#pingedAtMs >= pingEveryMs && this.#pings.length < pingsMax;
  }

  #pingSent(): void {
    this.#pingedAtMs = this.#nowMs();
    this.#pings.push({ atMs: this.#pingedAtMs, settledCount: this.#settledCount });
  }

  #pingAnswered(): void {
    const ping = this.#pings.shift();
    if (ping === undefined) return;
    const count = this.#count();
    this.#mostAtOnce = Math.max(this.#mostAtOnce, count);
    // What was acknowledged meanwhile made room in the window, and may have been filled again behind the PINGRESP.
    const filled = count + this.#settledCount - ping.settledCount;
    const isAll = filled === 0 || filled < this.#mostAtOnce;
    if (isAll && this.#mark === null) this.#reach({ atMs: ping.atMs, left: count });
  }

  #reach(mark: { readonly atMs: number; readonly left: number }): void {
    this.#mark = mark.left > 0 ? mark : null;
    if (this.#mark === null) this.#caughtUpAtMs = mark.atMs;
  }

  /** The last moment of which it is known that all the broker had for us then is settled; null while there is none. */
  get caughtUpAtMs(): number | null {
    return this.#caughtUpAtMs;
  }

  oldestMs(): number | null {
    return (this.#taken[0] ?? this.#waiting[0])?.receivedAtMs ?? null;
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
    this.#wake?.();
    this.#release();
  }

  /** Lets MQTT.js go on reading. */
  #release(): void {
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
  }

  #count(): number {
    return this.#waiting.length + this.#taken.length;
  }

  #hasRoom(): boolean {
    return this.#count() < pendingMessagesMax && this.#bytes < pendingBytesMax;
  }
}

/** What a message keeps in memory: topics can be long. */
function bytesOf({ topic, payload }: Message): number {
  return topic.length + payload.length;
}
