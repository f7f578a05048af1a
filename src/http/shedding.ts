// Refuses what there is no room for, before it costs anything, so that whatever is let in is answered soon, and so that those who share the
// process (the broker's messages, the leases) get their turn. What tells how the process is doing is answered however much else there is
// to do, and keeps nobody else out. A handler that takes the answer away from the framework hands its request over.

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Connections } from './connections.ts';
import type { Cors } from './cors.ts';
import { callerName, type HttpServer } from './instance.ts';
import type { HttpLimits } from './limits.ts';
import { overloaded, type Problem, rawAnswer, sendProblem } from './problems.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered however much else there is to do. */
    isVital?: true;
  }
  interface FastifyRequest {
    isBeingWorkedOn: boolean;
  }
}

export type SheddingLimits = Pick<
  HttpLimits,
  'requestsMax' | 'requestsPerConnectionMax' | 'turnMsMax' | 'vitalTurnMsMax' | 'partingMs'
>;

export type SheddingDeps = {
  readonly connections: Connections;
  readonly limits: SheddingLimits;
  /** What a page may read of a refusal. */
  readonly cors: Cors | null;
  readonly onShed: () => void;
};

export class Shedding {
  readonly #connections: Connections;
  readonly #limits: SheddingLimits;
  readonly #cors: Cors | null;
  readonly #onShed: () => void;
  readonly #vitalUrls = new Set<string>();
  #working = 0;
  /** Of the event loop: what the requests of this turn have taken of it. */
  #turn = 0;
  #isTurnCounted = false;
  #spentMs = 0;
  #vitalSpentMs = 0;
  #isParting = false;
  /** Connections on which an answer says, or will say, that it is the last. */
  readonly #partedWith = new WeakSet<Socket>();

  constructor({ connections, limits, cors, onShed }: SheddingDeps) {
    this.#connections = connections;
    this.#limits = limits;
    this.#cors = cors;
    this.#onShed = onShed;
  }

  /** Before the framework sees a request: the cheapest way to refuse one. */
  gate(listener: RequestListener): RequestListener {
    return (request, response) => {
      const fromMs = performance.now();
      if (this.#isParting && !this.#isHeard(request.socket, response)) return;
      this.#countTurn();
      if (this.#connections.askedInTurn(request.socket, this.#turn) > this.#limits.requestsPerConnectionMax) {
        // All that one read from the socket brought is here at once: thousands, where somebody wants to hold up the others.
        this.#onShed();
        request.socket.destroy();
        return;
      }
      const isVital = this.#vitalUrls.has(pathOf(request));
      if (isVital ? this.#vitalSpentMs >= this.#limits.vitalTurnMsMax : this.isCrowded) {
        this.#onShed();
        refuse(response, this.#cors?.headersFor(request.headers.origin));
        return;
      }
      listener(request, response);
      const spentMs = performance.now() - fromMs;
      if (isVital) this.#vitalSpentMs += spentMs;
      else this.#spentMs += spentMs;
    };
  }

  /** A call that the framework does not see begins; false, and nothing is taken, where it is refused: let the framework tell why. */
  enter(socket: Socket): boolean {
    if (this.#isFull || this.#connections.isUnread(socket)) return false;
    if (this.#connections.begin(socket, true) > this.#limits.requestsPerConnectionMax) {
      this.#connections.end(socket, true);
      return false;
    }
    this.#working += 1;
    return true;
  }

  /** It is over; what is answered is not written yet. */
  leave(socket: Socket, response: ServerResponse): void {
    this.#working -= 1;
    this.#connections.end(socket, true);
    this.#sayLast(socket, response);
  }

  /** While parting: what comes is the last of its connection. Behind the last nothing is done, for nobody would hear of it (RFC 9112, 9.6). */
  #isHeard(socket: Socket, response: ServerResponse): boolean {
    if (this.#partedWith.has(socket)) return false;
    this.#partedWith.add(socket);
    response.shouldKeepAlive = false;
    return true;
  }

  /** Of a request that came before. Not where other answers may be waiting behind this one. */
  #sayLast(socket: Socket, response: ServerResponse): void {
    if (!this.#isParting || this.#partedWith.has(socket) || this.#connections.isPipelined(socket)) return;
    this.#partedWith.add(socket);
    response.shouldKeepAlive = false;
  }

  /**
   * From here on every answer is the last of its connection, and says so: nobody asks on one that is about to be closed. Resolves when those
   * who ask all the time have been told.
   */
  async part(): Promise<void> {
    this.#isParting = true;
    if (this.#connections.count > 0) await delay(this.#limits.partingMs);
  }

  /** Work for a request that does not come with its head; it takes of the turn like all others. */
  spend(work: () => void): void {
    const fromMs = performance.now();
    this.#countTurn();
    work();
    this.#spentMs += performance.now() - fromMs;
  }

  /** For the routes that are added after this call. */
  watch(app: HttpServer): void {
    app.addHook('onRoute', ({ url, config }) => {
      if (config?.isVital === true) this.#vitalUrls.add(url);
    });
    app.decorateRequest('isBeingWorkedOn', false);
    // Once its body has come: somebody who never sends all of it takes a connection, and no place among those who work.
    app.addHook('preValidation', (request, reply, done) => {
      const isVital = isVitalRoute(request);
      if (!isVital && this.#isFull) return this.#shed(reply, overloaded);
      if (this.#connections.isUnread(request.raw.socket)) return this.#shed(reply, unread);
      request.isBeingWorkedOn = true;
      // Whoever asks needs no key, and an answer may take as long as the database does: these must not take the places of others.
      if (!isVital) this.#working += 1;
      const pipelined = this.#connections.begin(request.raw.socket, isCall(request));
      return pipelined > this.#limits.requestsPerConnectionMax ? this.#shed(reply, tooManyAtOnce) : done();
    });
    app.addHook('onSend', (request, reply, payload, done) => {
      this.#sayLast(request.raw.socket, reply.raw);
      if (request.isBeingWorkedOn) {
        request.isBeingWorkedOn = false;
        if (!isVitalRoute(request)) this.#working -= 1;
        this.#connections.end(request.raw.socket, isCall(request));
        if (typeof payload === 'string') this.#connections.answer(reply.raw, payload.length, readerOf(request));
      }
      done(null, payload);
    });
  }

  /** Of a handler that takes the answer away from the framework: it is no work any more, but until it ends its connection is in use. */
  handOver(request: FastifyRequest, response: ServerResponse): void {
    if (!request.isBeingWorkedOn) return;
    request.isBeingWorkedOn = false;
    if (!isVitalRoute(request)) this.#working -= 1;
    const { socket } = request.raw;
    this.#connections.putAside(socket);
    response.once('close', () => this.#connections.end(socket, isCall(request)));
  }

  get #isFull(): boolean {
    return this.#working >= this.#limits.requestsMax;
  }

  /** Nothing more is taken in this turn. */
  get isCrowded(): boolean {
    return this.#isFull || this.#spentMs >= this.#limits.turnMsMax;
  }

  /** A turn is over when everything that has come by now has been looked at. */
  #countTurn(): void {
    if (this.#isTurnCounted) return;
    this.#isTurnCounted = true;
    setImmediate(() => {
      this.#isTurnCounted = false;
      this.#turn += 1;
      this.#spentMs = 0;
      this.#vitalSpentMs = 0;
    });
  }

  #shed(reply: FastifyReply, problem: Problem): void {
    this.#onShed();
    sendProblem(reply, problem);
  }
}

/** On open routes, and where a key was refused, nobody knows who asks. */
const isCall = ({ caller }: FastifyRequest): boolean => caller !== null;

const readerOf = ({ caller }: FastifyRequest): string | null => (caller === null ? null : callerName(caller));
const isVitalRoute = ({ routeOptions }: FastifyRequest): boolean => routeOptions.config.isVital === true;

/** Where the router ends a path as well. */
function pathOf({ url = '' }: IncomingMessage): string {
  const end = url.search(/[?#]/u);
  return end === -1 ? url : url.slice(0, end);
}

const tooManyAtOnce: Problem = {
  type: 'overloaded',
  detail: 'there are too many requests on this connection that wait for their answer; use another',
  headers: { 'retry-after': '1' },
};

const unread: Problem = {
  type: 'overloaded',
  detail: 'there are too many answers on this connection that were not read; read them, or use another',
  headers: { 'retry-after': '1' },
};

const raw = rawAnswer(overloaded);

function refuse(response: ServerResponse, pageHeaders: Readonly<Record<string, string>> | undefined): void {
  response.writeHead(raw.status, { ...raw.headers, ...pageHeaders }).end(raw.body);
}
