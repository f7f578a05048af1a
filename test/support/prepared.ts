// A backend that prepares logins, and what its clients make of what they are given.

import { call, type ProblemBody } from './http.ts';
import type { Willow } from './willow.ts';

export type PreparedMessage = {
  readonly topic: string;
  readonly payload: {
    readonly userId: string;
    readonly sessionId: string;
    readonly ticket: string;
    readonly device?: object;
  };
  readonly qos: 1;
  readonly retain: false;
};

export type Prepared = {
  readonly sessionId: string;
  readonly expiresAt: string;
  readonly will: PreparedMessage;
  readonly birth: PreparedMessage;
};

type Asked = { readonly body?: object; readonly key?: string; readonly headers?: Readonly<Record<string, string>> };

/** The answer, whatever it is. */
export async function ask(willow: Pick<Willow, 'http'>, userId: string, { body, key, headers }: Asked = {}) {
  return call<Prepared & ProblemBody>(`${willow.http}/users/${encodeURIComponent(userId)}/sessions`, {
    method: 'POST',
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

export async function prepare(willow: Pick<Willow, 'http'>, userId: string, body?: object): Promise<Prepared> {
  const answer = await ask(willow, userId, body === undefined ? {} : { body });
  if (answer.status !== 201) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** As a client serialises it. */
export function withEpoch({ payload }: Pick<PreparedMessage, 'payload'>, epoch: number, more: object = {}): string {
  return JSON.stringify({ ...payload, epoch, ...more });
}
