// Who holds the secret can tell what is ours from what is not, also while it is being exchanged; and nobody reads it, or what is sent, in the log.

import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Delivery } from '../support/receiver.ts';
import { until } from '../support/until.ts';
import { attemptsWhen, call, handOver, parkedWhen, playWebhooks } from '../support/webhooks.ts';

const play = playWebhooks();

async function rotate(id: string): Promise<string> {
  const { status, body } = await call(play.willow, 'POST', `/webhooks/${id}/rotate`);
  expect(status).toBe(200);
  const secret = String(body['secret']);
  play.receiver.trust(secret);
  return secret;
}

const verify = (secret: string, { body, headers }: Pick<Delivery, 'body' | 'headers'>) =>
  new Webhook(secret).verify(body, headers);

/** The delivery of one more user's coming online. */
async function deliver(): Promise<Delivery> {
  const before = play.receiver.deliveries().length;
  await play.login(`user-${randomUUID()}`);
  return (await play.receiver.deliveredWhen(before + 1)).at(-1) as Delivery;
}

describe('a receiver that checks signatures', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test('takes what came, and rejects it with one byte changed, with another secret, under another id, and when it is old', async () => {
    const secret = play.secretOf(await play.hook({ events: ['user.online'] }));
    const delivery = await deliver();
    const { body, headers } = delivery;
    expect(verify(secret, delivery)).toEqual(JSON.parse(body));
    for (let index = 0; index < body.length; index += 7) {
      const bytes = Buffer.from(body);
      bytes[index] = (bytes[index] ?? 0) ^ 1;
      expect(() => verify(secret, { body: bytes.toString(), headers })).toThrow('No matching signature found');
    }
    const other = await play.hook({ events: ['user.offline'] });
    expect(() => verify(play.secretOf(other), delivery)).toThrow('No matching signature found');
    const moved = { ...headers, 'webhook-id': `${headers['webhook-id']}0` };
    expect(() => verify(secret, { body, headers: moved })).toThrow('No matching signature found');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 6 * 60_000 });
    expect(() => verify(secret, delivery)).toThrow('Message timestamp too old');
  });

  test('finds the time of the attempt in every try, not that of the event', async () => {
    play.receiver.answer(() => 503);
    const id = await play.hook({ events: ['user.online'], lanes: 1 });
    const first = await deliver();
    await attemptsWhen(play.willow, id, 1);
    const laterMs = Math.ceil((Date.now() + 1) / 1_000) * 1_000;
    await until('another second', () => Date.now() >= laterMs);
    await handOver(play.stage, id);
    const [, second] = await play.receiver.deliveredWhen(2);
    expect(second).toMatchObject({ id: first.id, body: first.body });
    const timestamp = (delivery: Delivery | undefined) => Number(delivery?.headers['webhook-timestamp']);
    expect(timestamp(second)).toBeGreaterThan(timestamp(first));
    expect(second?.headers['webhook-signature']).not.toBe(first.headers['webhook-signature']);
  });
});

test('for a day after a rotation both secrets verify, then the new one alone; a second rotation leaves the newest two', async () => {
  const id = await play.hook({ events: ['user.online'] });
  const oldest = play.secretOf(id);
  const older = await rotate(id);
  // The process that sends hears of it a moment later.
  const rotated = await until('the new secret signs', async () => signedBy(await deliver(), older));
  expect(signedBy(rotated, oldest)).toBe(rotated);

  const newest = await rotate(id);
  const again = await until('the newest secret signs', async () => signedBy(await deliver(), newest));
  expect(signedBy(again, older)).toBe(again);
  expect(signedBy(again, oldest)).toBeNull();

  await play.stage.database.pool.query(
    `update endpoints set previous_until = clock_timestamp() - interval '1 ms', revision = revision + 1 where id = $1`,
    [id],
  );
  await handOver(play.stage, id);
  const late = await deliver();
  expect(signedBy(late, newest)).toBe(late);
  expect(signedBy(late, older)).toBeNull();
  expect(late.headers['webhook-signature']).toMatch(/^v1,\S+$/);
});

function signedBy(delivery: Delivery, secret: string): Delivery | null {
  try {
    verify(secret, delivery);
    return delivery;
  } catch {
    return null;
  }
}

test('secrets, signatures, payloads and answers never appear in the log, whatever is done and however it fails', async () => {
  const answers = [503, 422, 422, 422, 204];
  play.receiver.answer((_delivery, response) => {
    response.writeHead(answers.shift() ?? 204).end('said-by-the-receiver');
    return undefined;
  });
  const id = await play.hook({ events: ['user.online'], lanes: 1, description: 'words-of-somebody' });
  await play.login('user-of-a-secret-kind', { device: { token: 'told-by-the-device' } });
  for (const tries of [1, 2, 3, 4]) {
    await attemptsWhen(play.willow, id, tries);
    await handOver(play.stage, id);
  }
  await parkedWhen(play.willow, id, 1);
  const newer = await rotate(id);
  await call(play.willow, 'POST', `/webhooks/${id}/test`);
  await call(play.willow, 'POST', `/webhooks/${id}/parked/retry`);
  await parkedWhen(play.willow, id, 0);
  await call(play.willow, 'POST', '/webhooks', { url: 'https://user:hidden-password@example.com/' });
  const log = play.willow.child.lines.join('\n');
  expect(play.willow.log().filter(({ event }) => event === 'delivery.attempted').length).toBeGreaterThanOrEqual(3);
  expect(play.willow.log().some(({ level }) => level === 'debug')).toBe(true);
  const signatures = play.receiver
    .deliveries()
    .flatMap(({ headers }) => headers['webhook-signature']?.split(' ') ?? []);
  const keys = [play.secretOf(id), newer].map((text) => text.replace('whsec_', ''));
  const words = ['said-by-the-receiver', 'told-by-the-device', 'words-of-somebody', 'hidden-password', 'whsec_'];
  for (const hidden of [...words, ...keys, ...signatures.map((text) => text.replace('v1,', ''))]) {
    expect(hidden.length).toBeGreaterThan(5);
    expect(log.includes(hidden), hidden).toBe(false);
  }
});
