// Signatures as receivers check them: with the library of the Standard Webhooks project, which shares no code with ours.

import { randomBytes } from 'node:crypto';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { secretText, signatureOf } from '../../src/webhooks/signature.ts';

const id = 'whe_1_1001';
const body = JSON.stringify({ type: 'user.offline', data: { userId: 'zoë 👩‍🚀' } });
const secret = randomBytes(32);

function signed(secrets: readonly Buffer[], options: { readonly ageMs?: number } = {}) {
  const timestampSeconds = Math.floor((Date.now() - (options.ageMs ?? 0)) / 1_000);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signatureOf({ id, timestampSeconds, body }, secrets),
  };
}

describe('a receiver with the secret', () => {
  const receiver = new Webhook(secretText(secret));

  test('accepts what was signed, and reads it', () => {
    expect(receiver.verify(body, signed([secret]))).toEqual(JSON.parse(body));
  });

  test.each([
    ['a byte of the body is changed', body.replace('offline', 'offlinf'), {}],
    ['a byte is added to the body', `${body} `, {}],
    ['the id is changed', body, { 'webhook-id': 'whe_1_1002' }],
    ['the timestamp is changed', body, { 'webhook-timestamp': String(Math.floor(Date.now() / 1_000) + 60) }],
  ])('rejects it when %s', (_name, received, changed) => {
    const headers = { ...signed([secret]), ...changed };
    expect(() => receiver.verify(received, headers)).toThrow(WebhookVerificationError);
  });

  test('rejects what was signed more than five minutes ago', () => {
    expect(() => receiver.verify(body, signed([secret], { ageMs: 6 * 60_000 }))).toThrow('Message timestamp too old');
  });

  test('rejects what was signed with another secret', () => {
    expect(() => receiver.verify(body, signed([randomBytes(32)]))).toThrow('No matching signature found');
  });
});

test('while a secret is being rotated, receivers with the new and with the old one both accept', () => {
  const old = randomBytes(32);
  const headers = signed([secret, old]);
  for (const known of [secret, old]) {
    expect(new Webhook(secretText(known)).verify(body, headers)).toEqual(JSON.parse(body));
  }
  expect(() => new Webhook(secretText(randomBytes(32))).verify(body, headers)).toThrow(WebhookVerificationError);
});

test('a secret reads as whsec_ and base64', () => {
  expect(secretText(Buffer.alloc(32, 1))).toBe('whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=');
});
