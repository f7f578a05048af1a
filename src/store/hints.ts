// Hints that something was committed, by LISTEN and NOTIFY: they come within milliseconds, and may be lost with their connection. Who waits
// for them asks again now and then all the same.

import pg from 'pg';
import type { Logger } from '../runtime/logger.ts';
import { backOffMs, loop } from '../runtime/loop.ts';

export type HintChannel = 'willow_log' | 'willow_erased' | 'willow_endpoints';

const connectTimeoutMs = 5_000;
/** A connection may die without a word: it is asked so often, and has so long to answer. */
const asking = { everyMs: 10_000, answerMsMax: 5_000 };
const backOff = { firstMs: 250, lastMs: 5_000 };

/** Calls `onHint` for every hint, and for every channel once a connection is there, until the signal aborts. */
export async function listenForHints(
  url: string,
  onHint: Readonly<Record<HintChannel, () => void>>,
  { ask = asking, ...options }: { readonly signal: AbortSignal; readonly logger: Logger; readonly ask?: typeof asking },
): Promise<void> {
  const channels = Object.keys(onHint) as HintChannel[];
  const step = async (): Promise<number> => {
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: ask.answerMsMax,
      keepAlive: true,
      application_name: 'willow hints',
    });
    const { promise: lost, resolve: lose } = Promise.withResolvers<Error | null>();
    const onAbort = () => lose(null);
    options.signal.addEventListener('abort', onAbort);
    client.on('error', lose);
    client.on('end', () => lose(new Error('the connection was closed')));
    client.on('notification', ({ channel }) => onHint[channel as HintChannel]?.());
    let timer: NodeJS.Timeout | undefined;
    try {
      await client.connect();
      for (const channel of channels) await client.query(`listen ${channel}`);
      // What was committed before.
      for (const channel of channels) onHint[channel]();
      timer = setInterval(() => void client.query('select 1').catch(lose), ask.everyMs);
      const error = await lost;
      if (error === null) return 0;
      // It was well until now: this is no further failure of those before it.
      const waitMs = backOffMs(1, backOff);
      options.logger.info({ event: 'hints.lost', waitMs, err: error });
      return waitMs;
    } finally {
      clearInterval(timer);
      options.signal.removeEventListener('abort', onAbort);
      client.removeAllListeners('end');
      await client.end().catch(() => undefined);
    }
  };
  await loop(step, { name: 'hints', backOff, ...options });
}
