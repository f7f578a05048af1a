// One attempt: a signed POST to a receiver that may do anything. It takes bounded time and memory whatever is answered,
// follows no redirect, opens no connection to an address that is not allowed, and never throws for what a receiver does.
// A status that has arrived is the answer, whatever becomes of the body behind it.

import type { Dispatcher } from 'undici';
import { invariant } from '../runtime/invariant.ts';
import { Agents, type ConnectionLimits, Turns } from './connections.ts';
import { exchange } from './exchange.ts';
import { failed, type Outcome, outcomeOfAnswer, outcomeOfError, type SendTimeouts } from './outcome.ts';
import { retryAfterOf } from './retry-after.ts';
import { signatureOf } from './signature.ts';
import { connectMsMax, guardedConnector, type LookupAll, type TargetRules, targetProblem } from './target-guard.ts';

export const answerMsMax = 15_000;
/** As many requests as one endpoint has lanes at most; and connections for several endpoints of one origin. */
export const connectionLimits: ConnectionLimits = {
  requestsPerUrlMax: 64,
  connectionsPerOriginMax: 512,
  originsMax: 1_000,
};
export const sendTimeouts: SendTimeouts = { connectMs: connectMsMax, answerMs: answerMsMax };

export type MessageToSend = {
  readonly id: string;
  /** Of this attempt, not of the event. */
  readonly timestampMs: number;
  readonly body: string;
  /** One, or the new and the old one during a rotation. */
  readonly secrets: readonly Buffer[];
  /** Of W3C Trace Context; null where nothing is traced. */
  readonly traceparent?: string | null;
};

export type Sent = Outcome & {
  readonly durationMs: number;
  /** The beginning of the answer's body, 8 KiB at most; null when there was none. */
  readonly body: string | null;
};

export type Sender = AsyncDisposable & {
  /** Rejects with the signal's reason when that aborts, or with `SenderClosedError`. */
  send(target: { readonly url: string }, message: MessageToSend, signal: AbortSignal): Promise<Sent>;
};

export type SenderOptions = {
  readonly rules: TargetRules;
  readonly limits?: ConnectionLimits;
  readonly timeouts?: SendTimeouts;
  /** How names are resolved; the system's way by default. */
  readonly lookup?: LookupAll;
};

/** The sender was closed under a request: nothing is known of its outcome. */
export class SenderClosedError extends Error {
  override readonly name = 'SenderClosedError';
}

export function createSender(options: SenderOptions): Sender {
  const { rules, limits = connectionLimits, timeouts = sendTimeouts, lookup } = options;
  const { connectMs, answerMs } = timeouts;
  const agents = new Agents(guardedConnector(rules, { connectMs, ...(lookup !== undefined && { lookup }) }), limits);
  const turns = new Turns(limits.requestsPerUrlMax);
  let isClosed = false;
  const underWay = new Set<AbortController>();

  async function attempt(url: URL, message: MessageToSend, signal: AbortSignal): Promise<Sent> {
    const askedAtMs = performance.now();
    using _turn = await turns.take(url.href, signal);
    // The receiver's time runs from here: it is not to blame for a turn that was waited for.
    const startedAtMs = performance.now();
    const timestampMs = message.timestampMs + (startedAtMs - askedAtMs);
    const request = requestOf(url, message, timestampMs);
    const answer = await exchange(agents.for(url.origin), request, answerMs, signal);
    const durationMs = Math.round(performance.now() - startedAtMs);
    if (answer instanceof Error) {
      return { ...outcomeOfError(answer, url.hostname, timeouts), durationMs, body: null };
    }
    const retryAfterMs = retryAfterOf(answer.retryAfter, timestampMs);
    return { ...outcomeOfAnswer(answer.status, retryAfterMs), durationMs, body: answer.body };
  }

  return {
    async send(target, message, signal) {
      signal.throwIfAborted();
      if (isClosed) throw new SenderClosedError('the sender is closed');
      const problem = targetProblem(target.url, rules);
      if (problem !== null) return { ...failed('blocked', problem), durationMs: 0, body: null };
      const cancelled = new AbortController();
      const cancel = () => cancelled.abort(signal.reason);
      signal.addEventListener('abort', cancel, { once: true });
      underWay.add(cancelled);
      try {
        return await attempt(new URL(target.url), message, cancelled.signal);
      } finally {
        underWay.delete(cancelled);
        signal.removeEventListener('abort', cancel);
      }
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
      for (const cancelled of underWay) cancelled.abort(new SenderClosedError('the sender is closed'));
      await agents.destroy();
    },
  };
}

function requestOf(url: URL, message: MessageToSend, timestampMs: number): Dispatcher.DispatchOptions {
  const { id, body, secrets, traceparent } = message;
  invariant(secrets.length > 0, 'a message is signed');
  const timestampSeconds = Math.floor(timestampMs / 1_000);
  return {
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'Willow',
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signatureOf({ id, timestampSeconds, body }, secrets),
      ...(typeof traceparent === 'string' && { traceparent }),
    },
    body,
  };
}
