// API keys of a real process, made as anybody makes them: over HTTP.

import { call } from './http.ts';
import type { Willow } from './willow.ts';

/** The admin key of processes that need one. */
export const adminKey = 'admin-key-of-the-tests-0123456789';

export type KeyBody = {
  readonly id: string;
  readonly key: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
};

export const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

export type Send = <Body>(
  method: string,
  path: string,
  options?: { readonly key?: string; readonly body?: unknown },
) => ReturnType<typeof call<Body>>;

/** Calls of one process, with the admin key unless another is named. */
export function sendTo({ http }: Pick<Willow, 'http'>): Send {
  return <Body>(method: string, path: string, { key = adminKey, body }: { key?: string; body?: unknown } = {}) => {
    const headers = { ...bearer(key), ...(body !== undefined && { 'content-type': 'application/json' }) };
    return call<Body>(`${http}${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  };
}

export async function makeKey(
  willow: Pick<Willow, 'http'>,
  scopes: readonly string[],
  more: { readonly name?: string; readonly expiresAt?: string; readonly by?: string } = {},
): Promise<KeyBody> {
  const { by = adminKey, name = 'of a test', ...rest } = more;
  const { status, body } = await sendTo(willow)<KeyBody>('POST', '/keys', { key: by, body: { name, scopes, ...rest } });
  if (status !== 201) throw new Error(`no key was made: ${status} ${JSON.stringify(body)}`);
  return body;
}
