// Something to ask for: a user with sessions, a webhook, a key and a message in the quarantine, so that guesses hit something.

import { call } from './http.ts';
import type { FuzzWorld } from './route-fuzz.ts';
import type { Stage } from './stage.ts';
import { until } from './until.ts';

type Made = { readonly id: string | number };
type Listed = { readonly data: readonly Made[]; readonly nextCursor: string | null };

export async function prepareWorld(
  { willow, voice }: Pick<Stage, 'willow' | 'voice'>,
  apiKey: string,
): Promise<FuzzWorld> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const post = async (path: string, body: object) =>
    (await call<Made>(`${willow.http}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).body.id;
  const list = async (path: string) => (await call<Listed>(`${willow.http}${path}`, { headers })).body;
  const url = 'https://hooks.invalid/willow';
  const hook = await post('/webhooks', { url });
  const key = await post('/keys', { name: 'fuzz', scopes: ['presence:read'] });
  for (const session of ['phone', 'tablet']) await voice.say('/login', { userId: 'ada', sessionId: session, epoch: 1 });
  for (let count = 0; count < 3; count += 1) await voice.say('/logout', '{');
  const message = await until('a message in the quarantine', async () => (await list('/quarantine')).data[0]?.id);
  const cursors = await Promise.all(
    ['/quarantine?limit=1', '/users/ada/sessions?limit=1', '/users/ada/events?limit=1'].map(
      async (path) => (await list(path)).nextCursor,
    ),
  );
  const words = ['ada', 'phone', 'tablet', url, ...[hook, key, message, ...cursors].map(String)];
  return { apiKey, words };
}
