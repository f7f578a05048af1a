// The REST calls about webhooks, as tests make them.

import { expect } from 'vitest';
import type { Receiver } from './receiver.ts';
import type { Willow } from './willow.ts';

/** Receivers of tests are on loopback, and speak plain http. */
export const allowLoopback = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOW_NETWORKS: '127.0.0.0/8' };

type Json = { readonly [name: string]: unknown };

export async function call(willow: Willow, method: string, path: string, body?: Json) {
  const response = await fetch(`${willow.http}${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as Json };
}

/** An endpoint of this receiver, which trusts its secret. */
export async function subscribe(willow: Willow, receiver: Receiver, more: Json = {}): Promise<string> {
  const { status, body } = await call(willow, 'POST', '/webhooks', { url: receiver.url, ...more });
  expect(status, JSON.stringify(body)).toBe(201);
  receiver.trust(String(body['secret']));
  return String(body['id']);
}
