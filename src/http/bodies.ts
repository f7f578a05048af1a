// The bodies of requests: read while they come, and parsed when all of one is there. What has come of all of them and is not parsed has a bound, and
// beyond it the caller who holds most is refused. Those that are large are parsed in turns, by caller, and the process rests from them as long
// as it had to do with them: so many may end at one moment that all together take seconds, in which whoever shares the process has his turns.

import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCodes, type FastifyRequest } from 'fastify';
import { Holdings } from './holdings.ts';
import { callerName, type HttpServer } from './instance.ts';
import type { HttpLimits } from './limits.ts';
import { overloaded, type Problem, ProblemError } from './problems.ts';

export type BodyLimits = Pick<
  HttpLimits,
  'bodiesBytesMax' | 'bodyAtOnceBytesMax' | 'bodiesTurnMsMax' | 'bodyWaitMsMax'
>;

export type BodiesDeps = {
  readonly limits: BodyLimits;
  /** Whether the event loop has time for more in this turn, and what takes of it. */
  readonly turn: { readonly isCrowded: boolean; readonly spend: (work: () => void) => void };
  readonly onRefused: (why: 'overloaded' | 'bodies') => void;
};

type Done = (error: Error | null, body?: unknown) => void;

type Body = {
  readonly request: FastifyRequest;
  /** Null where nobody knows who asks. */
  readonly owner: string | null;
  readonly done: Done;
  chunks: Buffer[];
  bytes: number;
  endedAtMs: number;
  /** It was parsed or refused; what still comes of it is dropped. */
  isOver: boolean;
};

/** What a piece weighs besides its bytes: somebody may send them one by one. */
const chunkBytes = 256;

export class Bodies {
  readonly #deps: BodiesDeps;
  readonly #held: Holdings<Body>;
  /** All of them is there: by owner, and of each in the order in which they came to their end. */
  readonly #waiting = new Map<string | null, Set<Body>>();
  #areTaken = false;

  constructor(deps: BodiesDeps) {
    this.#deps = deps;
    this.#held = new Holdings(deps.limits.bodiesBytesMax, (body) => this.#refuse(body, 'bodies', tooMuch));
  }

  /** For the routes of this server. A web page may send text/plain anywhere without asking; JSON it may not. */
  watch(app: HttpServer): void {
    app.removeAllContentTypeParsers();
    const json = app.getDefaultJsonParser('error', 'error');
    // Not the framework's own reader, which holds any number of bodies, and parses each in the moment in which it ends.
    app.addContentTypeParser('application/json', (request, payload, done) => {
      this.#read(request, payload, (error, text) => {
        // Many clients send the type with every DELETE. Where a body is needed its schema misses it.
        if (error !== null || text === '') done(error);
        else void json(request, String(text), done);
      });
    });
  }

  #read(request: FastifyRequest, payload: Readable, done: Done): void {
    const owner = request.caller === null ? null : callerName(request.caller);
    const body: Body = { request, owner, done, chunks: [], bytes: 0, endedAtMs: 0, isOver: false };
    const bytesMax = request.routeOptions.bodyLimit;
    if (Number(request.headers['content-length']) > bytesMax) return this.#finish(body, tooLarge());
    payload.on('data', (chunk: Buffer) => {
      if (body.isOver) return;
      body.bytes += chunk.length;
      if (body.bytes > bytesMax) return this.#finish(body, tooLarge());
      body.chunks.push(chunk);
      this.#held.add(body, owner, chunk.length + chunkBytes);
    });
    payload.on('error', (error) => this.#finish(body, error));
    payload.on('end', () => this.#onEnd(body));
  }

  #onEnd(body: Body): void {
    if (body.isOver) return;
    if (body.bytes <= this.#deps.limits.bodyAtOnceBytesMax) return this.#parse(body);
    body.endedAtMs = performance.now();
    const own = this.#waiting.get(body.owner);
    if (own === undefined) this.#waiting.set(body.owner, new Set([body]));
    else own.add(body);
    if (!this.#areTaken) void this.#takeTurns();
  }

  async #takeTurns(): Promise<void> {
    this.#areTaken = true;
    while (this.#waiting.size > 0) {
      const fromMs = performance.now();
      for (const [owner, bodies] of this.#waiting) {
        // The next one is somebody else's, where there is one.
        this.#waiting.delete(owner);
        this.#waiting.set(owner, bodies);
        const [body] = bodies;
        if (body !== undefined) this.#take(body);
        if (performance.now() - fromMs >= this.#deps.limits.bodiesTurnMsMax) break;
      }
      await delay(performance.now() - fromMs);
    }
    this.#areTaken = false;
  }

  #take(body: Body): void {
    const isLate = performance.now() - body.endedAtMs >= this.#deps.limits.bodyWaitMsMax;
    if (isLate) this.#refuse(body, 'overloaded', overloaded);
    else this.#parse(body);
  }

  #parse(body: Body): void {
    const { turn } = this.#deps;
    if (turn.isCrowded) return this.#refuse(body, 'overloaded', overloaded);
    turn.spend(() => {
      const { chunks, bytes, request } = body;
      // Whoever waited, and has gone, is not heard any more.
      const isGone = request.raw.socket.destroyed;
      this.#finish(body, isGone ? gone() : null, isGone ? '' : Buffer.concat(chunks, bytes).toString('utf8'));
    });
  }

  #refuse(body: Body, why: 'overloaded' | 'bodies', problem: Problem): void {
    this.#deps.onRefused(why);
    this.#finish(body, new ProblemError(problem));
  }

  #finish(body: Body, error: Error | null, text = ''): void {
    if (body.isOver) return;
    body.isOver = true;
    body.chunks = [];
    this.#held.remove(body);
    const own = this.#waiting.get(body.owner);
    own?.delete(body);
    if (own?.size === 0) this.#waiting.delete(body.owner);
    body.done(error, text);
  }
}

const tooLarge = (): Error => new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE();
const gone = (): Error => new ProblemError({ type: 'bad-request' });

const tooMuch: Problem = {
  ...overloaded,
  detail: 'the bodies that are being sent are too much at once; send fewer at a time',
};
