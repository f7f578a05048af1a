// A server with streams of a log in memory, and readers of them over real sockets.

import { pino } from 'pino';
import type { eventBody } from '../../src/http/render.ts';
import type { StreamLimits } from '../../src/http/streams.ts';
import { openSse } from '../support/sse.ts';
import { MemoryLog, type MemoryStreams, streamsOf } from './memory-log.ts';
import { serve } from './serve.ts';

type EventBody = ReturnType<typeof eventBody>;

const logger = pino({ level: 'silent' });

export type World = AsyncDisposable & {
  readonly log: MemoryLog;
  readonly streams: MemoryStreams;
  readonly served: Awaited<ReturnType<typeof serve>>;
  readonly open: (path: string, headers?: Readonly<Record<string, string>>) => ReturnType<typeof openSse<EventBody>>;
};

export async function openWorld(
  limits: Partial<StreamLimits> = {},
  more: Parameters<typeof streamsOf>[1] & Parameters<typeof serve>[0] = {},
): Promise<World> {
  const log = new MemoryLog();
  const { presence, findKey, currentMsMax, ...deps } = more;
  const streams = streamsOf(log, {
    limits,
    ...(presence !== undefined && { presence }),
    ...(findKey !== undefined && { findKey }),
    ...(currentMsMax !== undefined && { currentMsMax }),
  });
  const stopping = new AbortController();
  const running = streams.feed.run(stopping.signal, { logger, onSuccess: () => undefined });
  const served = await serve({ streams, ...deps });
  return {
    log,
    streams,
    served,
    open: (path, headers) => openSse<EventBody>(`${served.url}${path}`, headers),
    [Symbol.asyncDispose]: async () => {
      await served[Symbol.asyncDispose]();
      stopping.abort();
      await running;
    },
  };
}

export const positions = (messages: readonly { readonly data: EventBody }[]) =>
  messages.map(({ data }) => data.position);
/** The positions from the first to the last. */
export const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, n) => first + n);
