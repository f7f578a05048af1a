// Waiting for something to become true: asked again and again, with a limit that a slow machine does not reach.

import { setTimeout as delay } from 'node:timers/promises';

const pollMs = 25;

/** The first value that is neither undefined, null nor false. */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  waitMs = 60_000,
): Promise<Exclude<T, undefined | null | false>> {
  const endMs = performance.now() + waitMs;
  let last: unknown;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false)
      return answer as Exclude<T, undefined | null | false>;
    last = answer;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${waitMs} ms; last: ${JSON.stringify(last)}`);
    await delay(pollMs);
  }
}
