// The REST calls about webhooks, as tests make them; and what most tests of webhooks play on: a stage, a receiver for each test, endpoints that
// go with it.

import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { attemptBody, parkedBody, webhookBody } from '../../src/http/render.ts';
import { openReceiver, type Receiver } from './receiver.ts';
import { openStage, type Stage } from './stage.ts';
import { until } from './until.ts';
import type { Willow } from './willow.ts';

/** Receivers of tests are on loopback, and speak plain http. */
export const allowLoopback = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOW_NETWORKS: '127.0.0.0/8' };

type Json = { readonly [name: string]: unknown };
type Webhook = ReturnType<typeof webhookBody>;
type Attempt = ReturnType<typeof attemptBody>;
type Parked = ReturnType<typeof parkedBody>;

type Served = Pick<Willow, 'http'>;

export async function call(willow: Served, method: string, path: string, body?: Json) {
  const response = await fetch(`${willow.http}${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as Json };
}

/** An endpoint of this receiver, which trusts its secret. */
export async function subscribe(willow: Served, receiver: Receiver, more: Json = {}): Promise<string> {
  return (await create(willow, receiver, more)).id;
}

async function create(willow: Served, receiver: Receiver, more: Json) {
  const making = call(willow, 'POST', '/webhooks', { url: receiver.url, ...more });
  // What the log already has may arrive before the answer.
  receiver.trust(making.then(({ body }) => String(body['secret'])));
  const { status, body } = await making;
  expect(status, JSON.stringify(body)).toBe(201);
  return { id: String(body['id']), secret: String(body['secret']) };
}

export async function webhookOf(willow: Served, id: string): Promise<Webhook> {
  return (await call(willow, 'GET', `/webhooks/${id}`)).body as unknown as Webhook;
}

async function list<Item>(willow: Served, path: string): Promise<readonly Item[]> {
  return (await call(willow, 'GET', `${path}?limit=1000`)).body['data'] as readonly Item[];
}

/** The newest first, once there are so many. */
export async function attemptsWhen(willow: Served, id: string, count: number): Promise<readonly Attempt[]> {
  return until(`${count} attempts`, async () => {
    const data = await list<Attempt>(willow, `/webhooks/${id}/attempts`);
    return data.length >= count && data;
  });
}

/** The newest first, once there are exactly so many. */
export async function parkedWhen(willow: Served, id: string, count: number): Promise<readonly Parked[]> {
  return until(`${count} parked events`, async () => {
    const data = await list<Parked>(willow, `/webhooks/${id}/parked`);
    return data.length === count && data;
  });
}

/** Where the log ends. */
export async function headOf({ database }: Pick<Stage, 'database'>): Promise<number> {
  const { rows } = await database.pool.query<{ head: string }>('select position as head from log_head');
  return Number(rows[0]?.head ?? 0);
}

/**
 * As when another process has had the lanes meanwhile: they are read anew, with what is recorded of them, and the next try is when the test
 * wants it, not when the schedule does.
 */
export async function handOver({ database }: Pick<Stage, 'database'>, id: string, nextInMs = 0): Promise<void> {
  await database.pool.query(
    `update lanes set token = token + 1, holder = null, lease_until = null, next_at = clock_timestamp() + $2 * interval '1 ms'
     where endpoint_id = $1`,
    [id, nextInMs],
  );
  await database.pool.query(`select pg_notify('willow_endpoints', $1)`, [id]);
  await until('the lanes are held again', async () => {
    const { rows } = await database.pool.query('select from lanes where endpoint_id = $1 and holder is null', [id]);
    return rows.length === 0;
  });
}

export type WebhookPlay = {
  readonly stage: Stage;
  readonly willow: Willow;
  /** Of this test. */
  readonly receiver: Receiver;
  /** An endpoint of the receiver, for this test. */
  readonly hook: (more?: Json) => Promise<string>;
  /** Of an endpoint of this test, as it was shown. */
  readonly secretOf: (id: string) => string;
  /** A birth of the user's phone, with the next epoch. */
  readonly login: (userId: string, more?: Json) => Promise<void>;
  /** The will of the phone's newest connection. */
  readonly will: (userId: string) => Promise<void>;
};

/** Called once, at the top of a file. */
export function playWebhooks(environment: Readonly<Record<string, string>> = {}): WebhookPlay {
  let stage: Stage;
  let receiver: Receiver;
  const epochs = new Map<string, number>();
  const made = new Map<string, string>();
  beforeAll(async () => {
    stage = await openStage({ GRACE_MS: '0', ...allowLoopback, ...environment });
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(async () => {
    receiver = await openReceiver();
  });
  afterEach(async () => {
    for (const id of made.keys()) await call(stage.willow, 'DELETE', `/webhooks/${id}`);
    made.clear();
    await receiver[Symbol.asyncDispose]();
  });
  return {
    get stage() {
      return stage;
    },
    get willow() {
      return stage.willow;
    },
    get receiver() {
      return receiver;
    },
    hook: async (more = {}) => {
      const { id, secret } = await create(stage.willow, receiver, more);
      made.set(id, secret);
      return id;
    },
    secretOf: (id) => made.get(id) ?? '',
    login: (userId, more = {}) => {
      const epoch = (epochs.get(userId) ?? 0) + 1;
      epochs.set(userId, epoch);
      return stage.voice.say('/login', { userId, sessionId: 'phone', epoch, ...more });
    },
    will: (userId) => stage.voice.say('/logout', { userId, sessionId: 'phone', epoch: epochs.get(userId) }),
  };
}
