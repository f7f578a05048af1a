// Keeps a true copy of who is online in a store of your own: a snapshot, then the events behind it, and a new snapshot when Willow says that
// the log no longer goes back so far. It may be killed at any line: what the copy holds and the position it stands at are saved together.

import { setTimeout as delay } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';

/** A user as `GET /presence?sessions=true` shows him, as far as a copy needs it. */
export type SnapshotUser = {
  readonly userId: string;
  readonly status: 'online' | 'offline';
  readonly since: string | null;
  readonly sequence: number;
  readonly sessions: readonly { readonly sessionId: string }[];
};

export type LogEvent = {
  readonly position: number;
  readonly sequence: number;
  readonly type: 'session.started' | 'session.ended' | 'user.online' | 'user.offline';
  readonly userId: string;
  readonly sessionId: string;
  readonly at: string;
};

/** What a backend brings: each of these is one transaction of its store. */
export type Copy = {
  /** Up to where the log is in the copy; null while there is none, or not all of its snapshot. */
  readonly position: () => number | null;
  /** Forgets everything: from here on nothing is served. */
  readonly clear: () => void;
  /** Adds a page of the snapshot, which holds every event up to its `head`. */
  readonly add: (users: readonly SnapshotUser[], head: number) => void;
  /** The snapshot is whole: the events after `position` are next, and the copy is true once those up to `head` are in. */
  readonly complete: (position: number, head: number) => void;
  /** Applies events, and moves on to `position`. False, and nothing is changed: these do not follow on what the copy holds. */
  readonly apply: (events: readonly LogEvent[], position: number) => boolean;
};

export type Source = {
  readonly url: string;
  /** With the scopes presence:read and events:read. */
  readonly key?: string;
  /** Leaves out whoever is offline when the snapshot is taken. */
  readonly status?: 'online';
  readonly pageUsersMax?: number;
  readonly silenceMsMax?: number;
  readonly say?: (what: string, more?: unknown) => void;
};

const pageUsersMax = 1_000;
// Two heartbeats of the stream: a connection that says less is dead, whatever the operating system believes.
const silenceMsMax = 30_000;
// An event is a few KiB at most.
const frameCharactersMax = 1024 * 1024;
const pauseMs = { least: 200, most: 30_000 };

class Refused extends Error {
  readonly status: number;
  readonly retryAfterMs: number;

  constructor(status: number, text: string, retryAfterSeconds: string | null) {
    super(`Willow answered ${status}: ${text}`);
    this.status = status;
    this.retryAfterMs = Number(retryAfterSeconds ?? 0) * 1_000 || 0;
  }
}

/** Follows until the signal aborts. Throws when the key is refused: then a person is needed. */
export async function follow(source: Source, copy: Copy, signal: AbortSignal): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    const before = copy.position();
    const beganMs = performance.now();
    let waitMs = 0;
    try {
      if (copy.position() === null) await takeSnapshot(source, copy, signal);
      await readEvents(source, copy, signal);
      source.say?.('stream.ended');
    } catch (error) {
      if (signal.aborted) return;
      source.say?.('stream.failed', error);
      if (error instanceof Refused) {
        waitMs = error.retryAfterMs;
        if (error.status === 401 || error.status === 403) throw error;
        // 410: the log begins behind our position. 400: the position, or the cursor, is not of this log: the database is another one.
        if (error.status === 410 || error.status === 400) rebuild(source, copy, error.message);
      }
    }
    const after = copy.position();
    const hasGoneOn = (after !== null && after !== before) || performance.now() - beganMs > pauseMs.most;
    failures = hasGoneOn ? 0 : failures + 1;
    // A part of the wait is left to chance, so that a thousand followers do not come back at once.
    const backOffMs = Math.min(pauseMs.most, pauseMs.least * 2 ** failures) * (0.5 + Math.random());
    await delay(Math.max(waitMs, backOffMs), undefined, { signal }).catch(() => undefined);
  }
}

function rebuild(source: Source, copy: Copy, why: string): void {
  source.say?.('copy.rebuilt', why);
  copy.clear();
}

async function takeSnapshot(source: Source, copy: Copy, signal: AbortSignal): Promise<void> {
  copy.clear();
  const query = new URLSearchParams({ sessions: 'true', limit: String(source.pageUsersMax ?? pageUsersMax) });
  if (source.status !== undefined) query.set('status', source.status);
  for (;;) {
    const timeout = AbortSignal.timeout(source.silenceMsMax ?? silenceMsMax);
    const answer = await ask(source, `/presence?${query.toString()}`, AbortSignal.any([signal, timeout]));
    const page = (await answer.json()) as Page;
    copy.add(page.data, page.head);
    if (page.nextCursor === null) {
      copy.complete(page.position, page.head);
      source.say?.('snapshot.taken', { position: page.position, head: page.head });
      return;
    }
    query.set('cursor', page.nextCursor);
  }
}

type Page = {
  readonly data: readonly SnapshotUser[];
  readonly nextCursor: string | null;
  readonly position: number;
  readonly head: number;
};

/** Returns when the stream ends. What one read of the socket brings is applied in one transaction. */
async function readEvents(source: Source, copy: Copy, signal: AbortSignal): Promise<void> {
  const silence = new AbortController();
  const limitMs = source.silenceMsMax ?? silenceMsMax;
  const watchdog = setTimeout(() => silence.abort(new Error(`nothing heard for ${limitMs} ms`)), limitMs);
  try {
    let position = copy.position() ?? 0;
    const path = `/events/stream?after=${position}`;
    const { body } = await ask(source, path, AbortSignal.any([signal, silence.signal]));
    source.say?.('following', { position });
    let events: LogEvent[] = [];
    const parser = createParser({
      maxBufferSize: frameCharactersMax,
      // A heartbeat has an id and no data: everything up to there has been sent. It is told with the block's empty line, as its event is.
      onId: (id) => {
        position = Number(id);
      },
      onEvent: ({ event, data }) => {
        if (event === undefined) events.push(JSON.parse(data) as LogEvent);
        else source.say?.(`stream.${event}`, data);
      },
    });
    const decoder = new TextDecoder();
    for await (const bytes of (body ?? []) as AsyncIterable<Uint8Array>) {
      watchdog.refresh();
      parser.feed(decoder.decode(bytes, { stream: true }));
      if (!copy.apply(events, position)) {
        rebuild(source, copy, 'the events do not follow on the copy');
        return;
      }
      events = [];
    }
  } finally {
    clearTimeout(watchdog);
    silence.abort();
  }
}

export async function ask({ url, key }: Source, path: string, signal: AbortSignal, method = 'GET'): Promise<Response> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${url}${path}`, { method, headers, signal });
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.text(), answer.headers.get('retry-after'));
}
