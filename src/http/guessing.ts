// Whoever shows wrong keys is soon not listened to any more, so that guessing keys is slow. Behind a proxy all callers have one address:
// keys that were right there a while ago are welcome however many wrong ones come. Knows keys by their digest only.

import type { FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import type { HttpLimits } from './limits.ts';
import type { Problem } from './problems.ts';
import { Quota } from './quota.ts';

type GuessingLimits = Pick<HttpLimits, 'failuresMax' | 'failuresWindowMs' | 'welcomeMs'>;

/** Of keys that are welcome; more than there may be keys, times the addresses that each comes from. */
const welcomeMax = 10_000;

export class Guessing {
  readonly #limits: GuessingLimits;
  readonly #onRefused: () => void;
  readonly #failures: Quota;
  /** Until when a key is welcome at an address. */
  readonly #welcome = new Map<string, number>();

  constructor(limits: GuessingLimits, onRefused: () => void) {
    this.#limits = limits;
    this.#onRefused = onRefused;
    this.#failures = new Quota({ max: limits.failuresMax, windowMs: limits.failuresWindowMs });
  }

  /** Why a key is not even looked at. */
  refusal(request: FastifyRequest, digest: Buffer): Problem | null {
    if (this.#failures.isIdle) return null;
    const nowMs = performance.now();
    const seconds = this.#failures.spentForSeconds(originOf(request), nowMs);
    if (seconds === null || (this.#welcome.get(visitorOf(request, digest)) ?? 0) > nowMs) return null;
    this.#onRefused();
    return {
      type: 'too-many-requests',
      detail: 'too many wrong keys came from this address',
      headers: { 'retry-after': String(seconds) },
    };
  }

  wasWrong(request: FastifyRequest): void {
    this.#failures.take(originOf(request), performance.now());
  }

  wasRight(request: FastifyRequest, digest: Buffer): void {
    const nowMs = performance.now();
    const visitor = visitorOf(request, digest);
    const untilMs = this.#welcome.get(visitor) ?? 0;
    // Written now and then, not with every request.
    if (untilMs - nowMs > this.#limits.welcomeMs / 2) return;
    if (untilMs === 0 && this.#welcome.size >= welcomeMax) this.#welcome.clear();
    this.#welcome.set(visitor, nowMs + this.#limits.welcomeMs);
  }
}

function visitorOf({ raw }: FastifyRequest, digest: Buffer): string {
  return `${digest.toString('latin1', 0, 16)} ${raw.socket.remoteAddress ?? ''}`;
}

/** Whoever has one IPv6 address has at least 2^64 of them. */
function originOf({ raw }: FastifyRequest): string {
  const address = raw.socket.remoteAddress ?? '';
  if (!ipaddr.IPv6.isValid(address)) return address;
  const parsed = ipaddr.IPv6.parse(address);
  return parsed.isIPv4MappedAddress() ? parsed.toIPv4Address().toString() : parsed.parts.slice(0, 4).join(':');
}
