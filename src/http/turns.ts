// The share of dear reads, those that are asked of many or of the past: so many at once, and whoever comes meanwhile waits, for so long at
// most. Callers have their turns one after the other, each with what he asked first, so that nobody waits because another one asks for
// much. What all that waits holds has a bound, and beyond it the caller who holds most is refused. Whoever hangs up waits no longer, and is
// not read for.

import type { Socket } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { callerOf } from './auth.ts';
import { Holdings } from './holdings.ts';
import { callerName } from './instance.ts';
import { type Problem, ProblemError } from './problems.ts';

export type TurnLimits = {
  readonly underWayMax: number;
  /** Of those: the past may have to be read back a long way. */
  readonly pastMax: number;
  readonly waitMsMax: number;
  /** Of all that waits: each with `waitingBytes`, and what it carries. */
  readonly waitingBytesMax: number;
};

/** What one that waits is counted for, besides what it carries. */
export const waitingBytes = 64 * 1024;

export type DearRead = 'many' | 'past';

export type Asker = {
  readonly caller: string;
  /** He has hung up. */
  readonly gone: AbortSignal;
};

type Waiting = {
  readonly kind: DearRead;
  readonly begin: () => void;
  readonly giveWay: () => void;
};

export class Turns {
  readonly #limits: TurnLimits;
  readonly #onRefused: () => void;
  readonly #underWay = { many: 0, past: 0 };
  /** Of each caller in order; the callers in the order of their turns. None of them could begin now. */
  readonly #lines = new Map<string, Set<Waiting>>();
  readonly #held: Holdings<Waiting>;

  constructor(limits: TurnLimits, onRefused: () => void) {
    this.#limits = limits;
    this.#onRefused = onRefused;
    this.#held = new Holdings(limits.waitingBytesMax, ({ giveWay }) => giveWay());
  }

  get waiting(): number {
    let count = 0;
    for (const line of this.#lines.values()) count += line.size;
    return count;
  }

  /** `bytes`: what has to be kept for it until it begins. */
  async take<Result>(asker: Asker, kind: DearRead, work: () => Promise<Result>, bytes = 0): Promise<Result> {
    if (this.#mayBegin(kind)) this.#underWay[kind] += 1;
    else await this.#wait(asker, kind, waitingBytes + bytes);
    try {
      return await work();
    } finally {
      this.#underWay[kind] -= 1;
      this.#next();
    }
  }

  #mayBegin(kind: DearRead): boolean {
    const { many, past } = this.#underWay;
    return many + past < this.#limits.underWayMax && (kind === 'many' || past < this.#limits.pastMax);
  }

  #wait({ caller, gone }: Asker, kind: DearRead, bytes: number): Promise<void> {
    const { waitMsMax } = this.#limits;
    if (gone.aborted) return Promise.reject(new ProblemError(hungUp));
    const line = this.#lines.get(caller) ?? new Set();
    this.#lines.set(caller, line);
    return new Promise((begin, fail) => {
      const leave = (): void => {
        clearTimeout(timer);
        gone.removeEventListener('abort', onGone);
        line.delete(one);
        this.#held.remove(one);
        if (line.size === 0) this.#lines.delete(caller);
      };
      const onGone = (): void => {
        leave();
        fail(new ProblemError(hungUp));
      };
      const refuse = (detail: string): void => {
        leave();
        this.#onRefused();
        fail(new ProblemError({ type: 'overloaded', detail }));
      };
      const one: Waiting = {
        kind,
        begin: () => {
          leave();
          this.#underWay[kind] += 1;
          begin();
        },
        giveWay: () => refuse(tooMany),
      };
      const timer = setTimeout(refuse, waitMsMax, tooLate(waitMsMax));
      gone.addEventListener('abort', onGone);
      line.add(one);
      this.#held.add(one, caller, bytes);
    });
  }

  /** One place is free: one may begin, of the first caller who has any that may. */
  #next(): void {
    for (const [caller, line] of this.#lines) {
      const one = line.values().find(({ kind }) => this.#mayBegin(kind));
      if (one === undefined) continue;
      one.begin();
      // Whoever has more goes to the end.
      if (this.#lines.delete(caller)) this.#lines.set(caller, line);
      return;
    }
  }
}

const tooMany = 'too many reads of this kind are waiting, and most of them are of this caller';
const tooLate = (msMax: number) =>
  `too many reads of this kind are waiting: there was no turn for this one within ${msMax} ms`;
/** Nobody reads it. */
const hungUp: Problem = { type: 'bad-request', detail: 'the caller has hung up' };

export function askerOf(request: FastifyRequest): Asker {
  return { caller: callerName(callerOf(request)), gone: goneOf(request.raw.socket) };
}

/** One for all that is asked on a connection. */
const signals = new WeakMap<Socket, AbortSignal>();

function goneOf(socket: Socket): AbortSignal {
  if (socket.destroyed) return AbortSignal.abort();
  const known = signals.get(socket);
  if (known !== undefined) return known;
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  signals.set(socket, gone.signal);
  return gone.signal;
}
