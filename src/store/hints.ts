// Hints that something was committed, by LISTEN and NOTIFY: they come within milliseconds, and may be lost with their connection. Who waits
// for them asks again now and then all the same.

import pg from 'pg';
import type { Logger } from '../runtime/logger.ts';
import { loop } from '../runtime/loop.ts';

export type HintChannel = 'willow_log' | 'willow_erased' | 'willow_endpoints';

const connectTimeoutMs = 5_000;
const backOff = { firstMs: 250, lastMs: 5_000 };

/** Calls `onHint` for every hint, and for every channel once a connection is there, until the signal aborts. */
export async function listenForHints(
  url: string,
  onHint: Readonly<Record<HintChannel, () => void>>,
  options: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  const channels = Object.keys(onHint) as HintChannel[];
  const step = async (): Promise<number> => {
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      application_name: 'willow hints',
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    options.signal.addEventListener('abort', onAbort);
    client.on('error', reject);
    client.on('end', () => reject(new Error('the connection was closed')));
    // Its rejection is thrown by the `await` below; until then nobody waits for it.
    promise.catch(() => undefined);
    client.on('notification', ({ channel }) => onHint[channel as HintChannel]?.());
    try {
      await client.connect();
      for (const channel of channels) await client.query(`listen ${channel}`);
      // What was committed before.
      for (const channel of channels) onHint[channel]();
      await promise;
    } finally {
      options.signal.removeEventListener('abort', onAbort);
      client.removeAllListeners('end');
      await client.end().catch(() => undefined);
    }
    return 0;
  };
  await loop(step, { name: 'hints', backOff, ...options });
}
