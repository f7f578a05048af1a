// A sender for tests that may call receivers on loopback, a message for it to send, and receivers to send it to.

import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { expect } from 'vitest';
import type { Attempt } from '../../src/core/verdict.ts';
import type { SendTimeouts } from '../../src/webhooks/outcome.ts';
import {
  createSender,
  type MessageToSend,
  type Sender,
  type SenderOptions,
  type Sent,
} from '../../src/webhooks/send.ts';
import { parseNetworks, type TargetRules } from '../../src/webhooks/target-guard.ts';
import { startRawReceiver } from './raw-receiver.ts';

/** Plain http, and these networks besides the public ones. */
export function rulesFor(networksText: string): TargetRules {
  const parsed = parseNetworks(networksText);
  if (parsed.kind === 'problem') throw new Error(parsed.problem);
  return { allowHttp: true, allowNetworks: parsed.networks };
}

export const secret = randomBytes(32);

export function aMessage(changes: Partial<MessageToSend> = {}): MessageToSend {
  return { id: 'whe_1_1001', timestampMs: Date.now(), body: '{"type":"user.offline"}', secrets: [secret], ...changes };
}

export function loopbackSender(options: Partial<SenderOptions> = {}): Sender {
  return createSender({ rules: rulesFor('127.0.0.0/8,::1'), ...options });
}

/** An operation that nobody aborts. */
export const patient = new AbortController().signal;

/** Enough for a slow machine to notice that the time is over. */
export const slackMs = 20_000;

/** What a sender makes of a receiver that answers so. */
export async function sendTo(
  answer: (socket: Socket) => void,
  timeouts: SendTimeouts = { connectMs: 20_000, answerMs: 40_000 },
): Promise<Sent> {
  await using receiver = await startRawReceiver(answer);
  await using sender = loopbackSender({ timeouts });
  const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
  expect(receiver.requests).toHaveLength(1);
  return sent;
}

export const failedWith = (why: 'timeout' | 'connection' | 'tls' | 'blocked'): Attempt => ({
  kind: 'failed',
  why,
  status: null,
  retryAfterMs: null,
});

/** A byte, or a line, every few milliseconds until the other side has had enough. */
export function drip(socket: Socket, drop: string): void {
  const timer = setInterval(() => socket.write(drop), 20);
  socket.once('close', () => clearInterval(timer));
}
