// Who is connected, and who gives way. There is always room for a newcomer: when all places are taken, the connection on which
// nothing has been asked for longest is closed, and what strangers ask, who have shown no key, counts for nothing; a caller who does not
// read what was answered loses the connection too, and when all that is unread is too much, whoever holds most of it: nobody else is refused.

import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Holdings } from './holdings.ts';
import type { HttpLimits } from './limits.ts';
import { rawResponse } from './problems.ts';

type Seat = {
  /** Requests that are being worked on, and how many of them are of callers who may ask. */
  working: number;
  calls: number;
  /** Once more than one was. */
  isPipelined: boolean;
  /** The last turn of the event loop in which requests came, and how many in that. */
  turn: number;
  asked: number;
  /** A caller who may has asked for something since it was last looked at. */
  isUsed: boolean;
  /** It has calls under way, and is out of the order until they are over. */
  isAside: boolean;
  /** How much of its answers the caller had read when last looked at, and since when that has not grown. */
  readBytes: number;
  readAtMs: number;
};

export type ConnectionLimits = Pick<
  HttpLimits,
  'connectionsMax' | 'unreadBytesMax' | 'unreadBytesPerConnectionMax' | 'unreadMsMax'
>;

/** Why a connection was closed, or never begun. */
export type Dismissal = 'no-room' | 'gave-way' | 'unread';

const countedBytesMin = 16 * 1024;
const lookIntervalMs = 1_000;
/** Of those that are in use so many are passed over for one that is not; then the next gives way all the same. */
const passedOverMax = 64;
/** Beyond our own bound, while those who gave way are still closing; what comes then is closed by Node. */
const closingMax = 256;

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #onDismissed: (why: Dismissal) => void;
  readonly #seats = new Map<Socket, Seat>();
  /** Those that may give way, in that order. */
  readonly #order = new Map<Socket, Seat>();
  /** Answers that are ready, and not all read. */
  readonly #unread: Holdings<Socket>;

  constructor(limits: ConnectionLimits, onDismissed: (why: Dismissal) => void) {
    this.#limits = limits;
    this.#onDismissed = onDismissed;
    this.#unread = new Holdings(limits.unreadBytesMax, (socket) => {
      this.#leave(socket);
      this.#dismiss(socket, 'unread');
    });
  }

  get count(): number {
    return this.#seats.size;
  }

  /** So many answers wait on this connection that there is no use in another. */
  isUnread(socket: Socket): boolean {
    return this.#unread.bytesOf(socket) >= this.#limits.unreadBytesPerConnectionMax;
  }

  /** Whether an answer may have others behind it. */
  isPipelined(socket: Socket): boolean {
    return this.#seats.get(socket)?.isPipelined === true;
  }

  watch(server: Server): void {
    server.maxConnections = this.#limits.connectionsMax + closingMax;
    server.on('drop', () => this.#onDismissed('no-room'));
    server.on('connection', (socket: Socket) => this.#admit(socket));
    server.once('listening', () => {
      const timer = setInterval(() => this.#look(performance.now()), lookIntervalMs).unref();
      server.once('close', () => clearInterval(timer));
    });
  }

  /** A request has come: how many have on this connection in this turn of the event loop. */
  askedInTurn(socket: Socket, turn: number): number {
    const seat = this.#seats.get(socket);
    if (seat === undefined) return 1;
    if (seat.turn !== turn) seat.asked = 0;
    seat.turn = turn;
    seat.asked += 1;
    return seat.asked;
  }

  /** A request is being worked on: how many the connection has now. */
  begin(socket: Socket, isCall: boolean): number {
    const seat = this.#seats.get(socket);
    if (seat === undefined) return 1;
    seat.working += 1;
    if (seat.working > 1) seat.isPipelined = true;
    if (isCall) {
      seat.isUsed = true;
      seat.calls += 1;
    }
    return seat.working;
  }

  /** A call that takes long: nobody who looks for one that gives way need come upon it. */
  putAside(socket: Socket): void {
    const seat = this.#seats.get(socket);
    if (seat !== undefined && seat.calls > 0) this.#putAside(socket, seat);
  }

  end(socket: Socket, isCall: boolean): void {
    const seat = this.#seats.get(socket);
    if (seat === undefined) return;
    seat.working -= 1;
    if (!isCall) return;
    seat.calls -= 1;
    if (!seat.isAside || seat.calls > 0) return;
    seat.isAside = false;
    this.#order.set(socket, seat);
  }

  /** An answer is ready for a reader; small ones are as much as the connection itself weighs. */
  answer(response: ServerResponse, bytes: number, reader: string | null): void {
    const { socket } = response.req;
    if (bytes < countedBytesMin || !this.#seats.has(socket)) return;
    response.once('close', () => this.#unread.remove(socket, bytes));
    this.#unread.add(socket, reader, bytes);
  }

  #admit(socket: Socket): void {
    if (this.#seats.size >= this.#limits.connectionsMax && !this.#makeRoom()) {
      this.#onDismissed('no-room');
      socket.end(rawResponse({ type: 'overloaded' }), () => socket.destroy());
      return;
    }
    const seat = {
      working: 0,
      isPipelined: false,
      calls: 0,
      turn: 0,
      asked: 0,
      isUsed: false,
      isAside: false,
      readBytes: 0,
      readAtMs: performance.now(),
    };
    this.#seats.set(socket, seat);
    this.#order.set(socket, seat);
    socket.once('close', () => this.#leave(socket));
  }

  /** Of answers that wait behind another one Node does not tell that their connection is gone. */
  #leave(socket: Socket): void {
    this.#seats.delete(socket);
    this.#order.delete(socket);
    this.#unread.remove(socket);
  }

  /**
   * A second chance for those who have asked for something since the last look: pools that are in use stay, those who only sit go. One with
   * calls under way is put aside, once for all newcomers.
   */
  #makeRoom(): boolean {
    let passedOver = 0;
    for (const [socket, seat] of this.#order) {
      if (seat.calls > 0) {
        this.#putAside(socket, seat);
      } else if (seat.isUsed && passedOver < passedOverMax) {
        seat.isUsed = false;
        passedOver += 1;
        this.#order.delete(socket);
        this.#order.set(socket, seat);
      } else {
        this.#leave(socket);
        this.#dismiss(socket, 'gave-way');
        return true;
      }
    }
    return false;
  }

  #putAside(socket: Socket, seat: Seat): void {
    seat.isAside = true;
    this.#order.delete(socket);
  }

  #dismiss(socket: Socket, why: Dismissal): void {
    this.#onDismissed(why);
    socket.destroy();
  }

  #look(nowMs: number): void {
    for (const [socket, seat] of this.#seats) {
      const readBytes = socket.writableLength === 0 ? null : socket.bytesWritten - socket.writableLength;
      if (readBytes === null || readBytes > seat.readBytes) {
        seat.readBytes = readBytes ?? 0;
        seat.readAtMs = nowMs;
      } else if (nowMs - seat.readAtMs > this.#limits.unreadMsMax) this.#dismiss(socket, 'unread');
    }
  }
}
