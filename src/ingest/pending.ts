// The messages of one connection that were received and are not acknowledged yet, in arrival order, bounded in number and bytes; and whether
// the broker has more for us than these. MQTT has no word for that, but a broker that holds messages back does so because its window is full:
// where much less is in our hands than ever was, when the next acknowledgement goes out, or nothing for a while, there is nothing behind it.

import type { MqttClient } from 'mqtt';
import { type Message, messageOf } from './message.ts';

/** For a broker whose window is large, or unlimited: from here on its packets wait in the socket. */
const pendingMessagesMax = 4_000;
const pendingBytesMax = 8 * 1024 * 1024;
/** Fewer than any broker's window. */
const fewMessages = 10;
/** After our acknowledgement the next messages of a full window are here within this time. */
const idleMsMin = 100;
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
  #quietSinceMs: number;
  #caughtUpAtMs: number | null = null;
  /** A moment at which all was in our hands, and how many of them are still to be settled. */
  #mark: { readonly atMs: number; left: number } | null = null;
  #aliveAtMs: number;

  constructor(client: MqttClient, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#quietSinceMs = nowMs();
    this.#aliveAtMs = nowMs();
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
    this.#waiting.push(message);
    this.#bytes += message.payload.length;
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
    this.#taken = this.#waiting.slice(0, messagesMax);
    this.#waiting = this.#waiting.slice(messagesMax);
    return this.#taken;
  }

  settle(messages: readonly Message[]): void {
    const count = this.#count();
    this.#mostAtOnce = Math.max(this.#mostAtOnce, count);
    this.#quietSinceMs = this.#nowMs();
    this.#taken = [];
    if (this.#mark !== null) this.#mark.left -= messages.length;
    else if (count < Math.max(fewMessages, this.#mostAtOnce / 2)) {
      this.#mark = { atMs: this.#quietSinceMs, left: this.#waiting.length };
    }
    if (this.#mark !== null && this.#mark.left <= 0) {
      this.#caughtUpAtMs = this.#mark.atMs;
      this.#mark = null;
    }
    for (const { payload } of messages) this.#bytes -= payload.length;
    if (this.#goOn === null || !this.#hasRoom()) return;
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn();
  }

  caughtUpMs(nowMs: number): number | null {
    if (this.#count() === 0 && nowMs - this.#quietSinceMs >= idleMsMin) this.#caughtUpAtMs = nowMs;
    return this.#caughtUpAtMs;
  }

  noteStall(nowMs: number): void {
    this.#quietSinceMs = nowMs;
  }

  oldestMs(): number | null {
    return (this.#taken[0] ?? this.#waiting[0])?.receivedAtMs ?? null;
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
    this.#wake?.();
  }

  #count(): number {
    return this.#waiting.length + this.#taken.length;
  }

  #hasRoom(): boolean {
    return this.#count() < pendingMessagesMax && this.#bytes < pendingBytesMax;
  }
}
