// A log in memory, and streams that read it, as a process has them; whoever appends to it tells the streams.

import { pino } from 'pino';
import type { UserId } from '../../src/core/ids.ts';
import { EventStreams } from '../../src/http/event-streams.ts';
import { LogFeed } from '../../src/http/log-feed.ts';
import type { LogPorts } from '../../src/http/log-pages.ts';
import { PresenceStreams } from '../../src/http/presence-streams.ts';
import type { LoggedEvent } from '../../src/http/render.ts';
import type { PresencePort } from '../../src/http/routes/presence.ts';
import type { StreamsPort } from '../../src/http/routes/streaming.ts';
import type { Closing } from '../../src/http/stream.ts';
import { Streams, type StreamsDeps } from '../../src/http/streams.ts';

export class MemoryLog {
  readonly events: LoggedEvent[] = [];
  trimmed = 0;
  /** How often it was read. */
  reads = 0;
  /** How often it was asked for the events of somebody. */
  questions = 0;
  /** What the answer to a read of what is in it waits for, when it is already made. */
  hold: (() => Promise<void>) | null = null;
  /** The database does not answer. */
  isAway = false;

  get head(): number {
    return this.events.length;
  }

  append(...added: readonly Partial<LoggedEvent>[]): void {
    for (const event of added) {
      const position = this.events.length + 1;
      this.events.push({ ...blank, ...event, position, sequence: position });
    }
  }

  readonly stretch: LogPorts['stretch'] = async (after, upTo) => {
    this.reads += 1;
    if (this.isAway) throw new Error('the log is away');
    const { head, trimmed } = this;
    const events = this.events.slice(Math.max(after, trimmed), Math.max(after, upTo));
    if (events.length > 0) await this.hold?.();
    return { head, trimmed, events };
  };

  readonly question: LogPorts['question'] = async ({ after, limit, types, userId }) => {
    this.questions += 1;
    if (this.isAway) throw new Error('the log is away');
    const { head, trimmed } = this;
    const events = this.events
      .slice(Math.max(after ?? 0, trimmed))
      .filter((event) => (userId === null || event.userId === userId) && (types === null || types.has(event.type)))
      .slice(0, limit + 1);
    await this.hold?.();
    return { head, trimmed, events, upTo: events.length > limit ? (events.at(-1)?.position ?? 0) : head };
  };
}

const blank = {
  type: 'user.online',
  userId: 'ada',
  sessionId: 'phone',
  epoch: null,
  reason: null,
  device: null,
  atMs: Date.parse('2026-11-23T10:00:00Z'),
} as unknown as LoggedEvent;

type Presence = Awaited<ReturnType<PresencePort>>;

export const offline = (userId: UserId): Presence => ({
  userId,
  status: 'offline',
  sequence: 0,
  sinceMs: null,
  lastSeenAtMs: null,
  sessions: [],
  asOfMs: null,
  isStale: false,
  revision: 0,
});

export type MemoryStreams = StreamsPort & {
  readonly feed: LogFeed;
  readonly closed: Closing['reason'][];
  /** Events written so far. */
  readonly sent: () => number;
};

export function streamsOf(
  log: LogPorts,
  more: Partial<StreamsDeps> & { readonly presence?: PresencePort; readonly currentMsMax?: number } = {},
): MemoryStreams {
  const closed: Closing['reason'][] = [];
  let sent = 0;
  const feed = new LogFeed(log, { currentMsMax: more.currentMsMax ?? 5_000 });
  const streams = new Streams({
    findKey: () => null,
    logger: pino({ level: 'silent' }),
    onClosed: (reason) => void closed.push(reason),
    ...more,
  });
  const events = new EventStreams(feed, streams, (count) => {
    sent += count;
  });
  const presence = new PresenceStreams(feed, streams, more.presence ?? (async (userId) => offline(userId)));
  return { feed, streams, events, presence, closed, sent: () => sent };
}
