// Which traces are sent, found from what a trace id is derived from, and the same in every process. It is asked of everything that happens, and of most
// of it the answer is no: so it costs a tenth of the digest that a trace id is. The key keeps what was sent from telling anything of who it was.

import type { Epoch, SessionId, UserId } from '../core/ids.ts';

/** One beginning, or one end, of one connection of a session. */
export type Happening = {
  readonly phase: 'start' | 'end';
  readonly userId: UserId;
  readonly sessionId: SessionId;
  readonly epoch: Epoch | null;
  /** Tells those apart that have no epoch. */
  readonly atMs: number;
};

const values = 2 ** 32;

export class Sampling {
  readonly #seed: number;
  readonly #below: number;

  /** `ratio`: from 0 to 1. */
  constructor(key: string, ratio: number) {
    this.#seed = mix(0x811c9dc5, key);
    this.#below = ratio * values;
  }

  has({ phase, userId, sessionId, epoch, atMs }: Happening): boolean {
    if (this.#below >= values) return true;
    const seed = mix(mix(this.#seed ^ (phase === 'start' ? 1 : 2), userId), sessionId);
    return spread(mix(seed, epoch === null ? `at ${atMs}` : `${epoch}`)) < this.#below;
  }
}

/** FNV-1a, by UTF-16 units, with an end after each text. */
function mix(seed: number, text: string): number {
  let hash = seed;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return Math.imul(hash ^ 0x10000, 0x01000193);
}

/** MurmurHash3's last step: texts that are nearly the same end far from each other. */
function spread(hash: number): number {
  let spreading = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  spreading = Math.imul(spreading ^ (spreading >>> 13), 0xc2b2ae35);
  return (spreading ^ (spreading >>> 16)) >>> 0;
}
