// Whoever shows wrong keys again and again is told to stop, by address, and is counted. It shuts nobody out: behind a proxy everybody has
// one address, so a right key is taken whatever came before it. What makes guessing hopeless is what is guessed at: 256 bits in the keys
// that are made here, which are not counted, and in API_KEY 16 characters or more.

import type { FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import type { HttpLimits } from './limits.ts';
import type { Problem } from './problems.ts';
import { Quota } from './quota.ts';

type GuessingLimits = Pick<HttpLimits, 'failuresMax' | 'failuresWindowMs'>;

export class Guessing {
  readonly #onRefused: () => void;
  readonly #failures: Quota;

  constructor(limits: GuessingLimits, onRefused: () => void) {
    this.#onRefused = onRefused;
    this.#failures = new Quota({ max: limits.failuresMax, windowMs: limits.failuresWindowMs });
  }

  /** Of a key that is wrong: what to say when there have been too many, null otherwise. */
  refusal(request: FastifyRequest): Problem | null {
    const { isOver, resetSeconds } = this.#failures.take(originOf(request), performance.now());
    if (!isOver) return null;
    this.#onRefused();
    return {
      type: 'too-many-requests',
      detail: 'too many wrong keys came from this address',
      headers: { 'retry-after': String(resetSeconds) },
    };
  }
}

/** Whoever has one IPv6 address has at least 2^64 of them. */
function originOf({ raw }: FastifyRequest): string {
  const address = raw.socket.remoteAddress ?? '';
  if (!ipaddr.IPv6.isValid(address)) return address;
  const parsed = ipaddr.IPv6.parse(address);
  return parsed.isIPv4MappedAddress() ? parsed.toIPv4Address().toString() : parsed.parts.slice(0, 4).join(':');
}
