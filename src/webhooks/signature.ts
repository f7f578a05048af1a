// Standard Webhooks v1 signatures: HMAC-SHA256 over `id.timestamp.body` under each secret of an endpoint, so that receivers
// can check with the old or the new one while a secret is being rotated. Secrets are bytes here, `whsec_…` to people.

import { createHmac, randomBytes } from 'node:crypto';

const prefix = 'whsec_';
const secretBytes = 32;
/** What Standard Webhooks allows. */
const secretBytesMin = 24;
const secretBytesMax = 64;

export type Signed = { readonly id: string; readonly timestampSeconds: number; readonly body: string };

/** The value of `webhook-signature`: one signature a secret, separated by spaces. */
export function signatureOf(message: Signed, secrets: readonly Buffer[]): string {
  const content = `${message.id}.${message.timestampSeconds}.${message.body}`;
  return secrets.map((secret) => `v1,${createHmac('sha256', secret).update(content).digest('base64')}`).join(' ');
}

export function makeSecret(): Buffer {
  return randomBytes(secretBytes);
}

/** As it is shown, once. */
export function secretText(secret: Buffer): string {
  return `${prefix}${secret.toString('base64')}`;
}

/** Null when the text is not a secret: `whsec_` and 24 to 64 bytes as base64, exactly as `secretText` writes them. */
export function parseSecret(text: string): Buffer | null {
  if (!text.startsWith(prefix)) return null;
  const secret = Buffer.from(text.slice(prefix.length), 'base64');
  const isSecret = secret.length >= secretBytesMin && secret.length <= secretBytesMax && secretText(secret) === text;
  return isSecret ? secret : null;
}
