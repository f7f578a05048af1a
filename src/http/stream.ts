// One stream of server-sent events (WHATWG HTML §9.2) on its way to one caller: the head of the answer, blocks that are written whole, how much
// of them the caller has not taken, and the last block, which says why it ends. It is written onto the response by hand: ADR 0018 has why.

import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { StreamRoom } from './stream-room.ts';

/** Why a stream was ended by us. */
export type Closing =
  /** Of what waits for the caller nothing has left this process for too long. */
  | { readonly reason: 'slow' }
  /** The log no longer has what comes next; it begins behind `after`. */
  | { readonly reason: 'gone'; readonly after: number }
  /** The log ends at `head`, before the place of the stream: the database is an older one. */
  | { readonly reason: 'ahead'; readonly head: number }
  /** The API key was removed, or has expired. */
  | { readonly reason: 'key' }
  /** This process stops; another one goes on. */
  | { readonly reason: 'shutdown' };

/** How long the last block may take, before the connection is over all the same. */
const partingMsMax = 5_000;
/** When an EventSource comes back by itself. */
const retryMs = 2_000;

export const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // nginx would collect what it passes on.
  'x-accel-buffering': 'no',
};

export class Stream {
  readonly #response: FastifyReply['raw'];
  readonly #room: StreamRoom;
  readonly #onEnded: (() => void)[] = [];
  #isOpen = true;
  #writtenAtMs: number;
  #writtenBytes = 0;
  /** How much of that was taken when last looked at, and since when that has not become more. */
  #takenBytes = 0;
  #takenAtMs: number;
  #drained: PromiseWithResolvers<void> | null = null;

  /** Takes the response away from the framework. */
  constructor(reply: FastifyReply, room: StreamRoom, nowMs: number) {
    const response = reply.raw;
    const common = reply.getHeaders() as OutgoingHttpHeaders;
    reply.hijack();
    this.#response = response;
    this.#room = room;
    this.#writtenAtMs = nowMs;
    this.#takenAtMs = nowMs;
    response.on('drain', () => this.#settle());
    response.once('close', () => this.#end());
    response.on('error', () => undefined);
    // Whoever has left by now has no response that would tell it again.
    if (response.destroyed || response.socket?.destroyed === true) {
      this.#isOpen = false;
      return;
    }
    response.writeHead(200, { ...common, ...streamHeaders });
    response.write(`retry: ${retryMs}\n\n`);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Of what was written, what the system has not taken yet. */
  get unsentBytes(): number {
    return this.#response.writableLength;
  }

  /** Calls back once, when nothing waits for the caller any more, whichever way it ended. */
  onGone(callback: () => void): void {
    this.#response.once('close', callback);
  }

  /** Calls back once, when the caller has left or was sent the last block. */
  onEnded(callback: () => void): void {
    if (this.#isOpen) this.#onEnded.push(callback);
    else callback();
  }

  /** Whole blocks, each with its empty line; as bytes, which are shared by all who are written the same, where they are long. */
  write(blocks: Buffer | string, nowMs: number): void {
    if (!this.#isOpen) return;
    this.#writtenAtMs = nowMs;
    this.#writtenBytes += blocks.length;
    this.#room.take(blocks.length);
    this.#response.write(blocks);
  }

  /** Resolves when nothing is unsent, or the stream has ended. */
  async drained(): Promise<void> {
    while (this.#isOpen && this.unsentBytes > 0) {
      this.#drained ??= Promise.withResolvers<void>();
      // Node tells by itself of what was more than it likes to keep, and of no less: a comment then asks.
      if (!this.#response.writableNeedDrain) this.#response.write(':\n\n', () => this.#settle());
      await this.#drained.promise;
    }
  }

  /**
   * Sets the caller's place without an event: a block without data is not dispatched, but counts as a sign of life, for proxies too. Not while
   * something is unsent: what waits already is a sign of life when it comes.
   */
  beat(position: number, nowMs: number, silentMs: number): void {
    if (nowMs - this.#writtenAtMs < silentMs || this.unsentBytes > 0) return;
    this.write(`:\nid: ${position}\n\n`, nowMs);
  }

  /**
   * For how long nothing of what waits for the caller has left this process. The system takes it on in pieces, as its own buffer is emptied: of
   * somebody who reads slowly, but reads, that is seconds apart.
   */
  stalledMs(nowMs: number): number {
    const { unsentBytes } = this;
    const takenBytes = this.#writtenBytes - unsentBytes;
    if (unsentBytes === 0 || takenBytes > this.#takenBytes) {
      this.#takenAtMs = nowMs;
      this.#takenBytes = takenBytes;
    }
    return nowMs - this.#takenAtMs;
  }

  /** Says why, and ends. */
  close(closing: Closing): void {
    if (!this.#isOpen) return;
    const response = this.#response;
    response.end(`event: closing\ndata: ${JSON.stringify(closing)}\n\n`);
    const timer = setTimeout(() => response.destroy(), partingMsMax).unref();
    response.once('close', () => clearTimeout(timer));
    this.#end();
  }

  /** Without a word, which would wait behind all that is not taken, and keep it. */
  cut(): void {
    this.#response.destroy();
    this.#end();
  }

  #settle(): void {
    this.#drained?.resolve();
    this.#drained = null;
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#drained?.resolve();
    this.#drained = null;
    for (const callback of this.#onEnded.splice(0)) callback();
  }
}
