// Erases a user in Willow and in the copy. The log tells nobody of it: whoever erases has to see to every copy that there is.

import { setTimeout as delay } from 'node:timers/promises';
import { ask, type Source } from './follower.ts';
import type { SqliteCopy } from './sqlite-copy.ts';

const pollMs = 100;

/** The key needs sessions:write besides. Resolves when the copy has forgotten the user, for which its follower must run. */
export async function erase(source: Source, copy: SqliteCopy, userId: string, signal: AbortSignal): Promise<void> {
  const path = `/users/${encodeURIComponent(userId)}`;
  await ask(source, path, signal, 'DELETE');
  const { head } = (await (await ask(source, '/presence?limit=1', signal)).json()) as { readonly head: number };
  // Some of what was said of him before may be on its way, and would bring him back.
  while ((copy.position() ?? -1) < head) await delay(pollMs, undefined, { signal });
  const { sequence } = (await (await ask(source, `${path}/presence`, signal)).json()) as { readonly sequence: number };
  // Who has come back by now has begun anew: with his first event the copy dropped what was before.
  if (sequence === 0) copy.forget(userId, head);
}
