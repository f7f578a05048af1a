// A backend that receives webhooks: a real HTTP or HTTPS server that verifies every delivery with the library of Standard Webhooks, keeps what it
// was sent, and answers as a test tells it. What does not verify is kept apart, and fails the test that looks at the deliveries.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { WebhookBody, type WireEvent } from '../../src/core/wire-event.ts';
import type { Certificate } from './raw-receiver.ts';
import { until } from './until.ts';

export type Delivery = {
  readonly id: string;
  readonly path: string;
  readonly type: WebhookBody['type'];
  readonly events: readonly WireEvent[];
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
};

/** A status, or whatever the test does with the request; every delivery is kept either way. */
export type Answer = (delivery: Delivery, response: ServerResponse) => number | undefined | Promise<number | undefined>;

export type Receiver = AsyncDisposable & {
  readonly url: string;
  /** Trusts the secret of an endpoint from here on; what arrives while it is still on its way waits for it. */
  readonly trust: (secret: string | Promise<string>) => void;
  readonly answer: (answer: Answer) => void;
  /** All that came, verified. */
  readonly deliveries: () => readonly Delivery[];
  /** All events that were answered with a 2xx, in the order of their arrival. */
  readonly taken: () => readonly WireEvent[];
  readonly takenWhen: (count: number, withinMs?: number) => Promise<readonly WireEvent[]>;
  readonly deliveredWhen: (count: number, withinMs?: number) => Promise<readonly Delivery[]>;
};

const waitMs = 40_000;

/** With a certificate it speaks TLS. */
export async function openReceiver(certificate: Certificate | null = null): Promise<Receiver> {
  const deliveries: Delivery[] = [];
  const taken: WireEvent[] = [];
  const unverified: string[] = [];
  const secrets: Promise<string>[] = [];
  let answer: Answer = () => 204;

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await textOf(request);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const delivery = verified(body, headers, request.url ?? '', await Promise.all(secrets));
    if (typeof delivery === 'string') {
      unverified.push(delivery);
      response.writeHead(500).end();
      return;
    }
    deliveries.push(delivery);
    const status = await answer(delivery, response);
    if (status === undefined) return;
    if (status >= 200 && status <= 299) taken.push(...delivery.events);
    response.writeHead(status).end();
  };

  const onRequest: RequestListener = (request, response) => {
    receive(request, response).catch(() => response.destroy());
  };
  const server = certificate === null ? createServer(onRequest) : createTlsServer(certificate, onRequest);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const all = () => {
    if (unverified.length > 0) throw new Error(`deliveries that do not verify: ${unverified.join('; ')}`);
    return [...deliveries];
  };
  return {
    url: `${certificate === null ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    trust: (secret) => secrets.push(Promise.resolve(secret)),
    answer: (next) => {
      answer = next;
    },
    deliveries: all,
    taken: () => [...taken],
    takenWhen: (count, withinMs = waitMs) =>
      until(`${count} events taken`, () => all() && taken.length >= count && [...taken], withinMs),
    deliveredWhen: (count, withinMs = waitMs) =>
      until(`${count} deliveries`, () => all().length >= count && [...deliveries], withinMs),
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function verified(
  body: string,
  headers: Record<string, string>,
  path: string,
  secrets: readonly string[],
): Delivery | string {
  const reasons: string[] = [];
  for (const secret of secrets) {
    try {
      const parsed = WebhookBody.parse(new Webhook(secret).verify(body, headers));
      return { id: headers['webhook-id'] ?? '', path, type: parsed.type, events: eventsOf(parsed), body, headers };
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  return reasons.join(', ') || 'no secret is trusted yet';
}

function eventsOf(body: WebhookBody): readonly WireEvent[] {
  if (body.type === 'batch') return body.data.events;
  return body.type === 'webhook.test' ? [] : [body.data];
}

/** What a backend does that drops repeated webhook-ids: each event once, in the order in which it came first. */
export function withoutRepeats(deliveries: readonly Delivery[]): readonly WireEvent[] {
  const seen = new Set<number>();
  return deliveries.flatMap(({ events }) => events.filter(({ position }) => !seen.has(position) && seen.add(position)));
}
