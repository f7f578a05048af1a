// Streams, plugged together: the log and presence, from the tables; hints that there is more; and what is counted of them.

import type pg from 'pg';
import type { Base } from './app-ingest.ts';
import type { UserId } from './core/ids.ts';
import type { Presence } from './core/presence.ts';
import type { GuardPort } from './http/auth.ts';
import { EventStreams } from './http/event-streams.ts';
import { LogFeed } from './http/log-feed.ts';
import { PresenceStreams } from './http/presence-streams.ts';
import type { StreamsPort } from './http/routes/streaming.ts';
import { type StreamLimits, Streams } from './http/streams.ts';
import { readLog } from './store/log.ts';
import { listEvents } from './store/log-pages.ts';

/** A loop that has not succeeded for so long is not working. */
const silenceMsMax = 15_000;

export type StreamParts = StreamsPort & { readonly feed: LogFeed };

export function createStreams(
  { logger, metrics }: Pick<Base, 'logger' | 'metrics'>,
  parts: {
    readonly pool: pg.Pool;
    readonly presence: (userId: UserId) => Promise<Presence>;
    readonly findKey: GuardPort['findKey'];
    readonly limits?: Partial<StreamLimits>;
  },
): StreamParts {
  const { pool, presence, findKey, limits = {} } = parts;
  const { sent, dropped } = metrics.streams;
  const feed = new LogFeed({
    stretch: (after, upTo) => readLog(pool, after, upTo),
    question: (question) => listEvents(pool, question),
  });
  const streams = new Streams({ limits, findKey, logger, onClosed: (reason) => dropped.inc({ reason }) });
  const events = new EventStreams(feed, streams, (count) => sent.inc(count));
  metrics.streams.watch(() => ({
    events: streams.countOf('events'),
    presence: streams.countOf('presence'),
    lagEvents: events.lagEvents,
  }));
  return { feed, streams, events, presence: new PresenceStreams(feed, streams, presence) };
}

/** Tells what is new until the signal aborts; then all streams end, and whoever read them goes on with another process. */
export async function runStreams(
  { logger, health, hints }: Base,
  { feed, streams }: StreamParts,
  signal: AbortSignal,
): Promise<void> {
  hints.on({ willow_log: () => feed.hint(), willow_erased: () => feed.forget() });
  await feed.run(signal, { logger, onSuccess: health.watchLoop('streams', silenceMsMax) });
  streams.closeAll();
}
