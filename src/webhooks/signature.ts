// Standard Webhooks v1 signatures: HMAC-SHA256 over `id.timestamp.body` under each secret of an endpoint, so that receivers
// can check with the old or the new one while a secret is being rotated. Secrets are bytes here, `whsec_…` to people.

import { createHmac } from 'node:crypto';

export type Signed = { readonly id: string; readonly timestampSeconds: number; readonly body: string };

/** The value of `webhook-signature`: one signature a secret, separated by spaces. */
export function signatureOf(message: Signed, secrets: readonly Buffer[]): string {
  const content = `${message.id}.${message.timestampSeconds}.${message.body}`;
  return secrets.map((secret) => `v1,${createHmac('sha256', secret).update(content).digest('base64')}`).join(' ');
}

/** As it is shown, once. */
export function secretText(secret: Buffer): string {
  return `whsec_${secret.toString('base64')}`;
}
