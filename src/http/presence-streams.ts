// Streams of one user's presence: as it is, and again whenever it has changed. An event of the user is why it is read again, and so is each
// beat, for what is no event. It is read and rendered once for all who follow the user; who is slow is sent the newest only.

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { UserId } from '../core/ids.ts';
import type { Presence } from '../core/presence.ts';
import { pause } from '../runtime/loop.ts';
import type { LogFeed } from './log-feed.ts';
import { presenceBody } from './render.ts';
import type { Stream } from './stream.ts';
import type { Streams } from './streams.ts';

type Shown = {
  /** The same bytes for all who follow the user. */
  readonly block: Buffer;
  /** What it says, but for when that was heard. */
  readonly state: string;
};

type Follower = {
  readonly stream: Stream;
  /** The state that was written last. */
  state: string;
  isWaiting: boolean;
};

type Followed = {
  readonly userId: UserId;
  readonly followers: Set<Follower>;
  /** Of the log, when it was read last. */
  position: number;
  shown: Shown;
  isReading: boolean;
  /** Something has happened since the read that is under way. */
  isOutdated: boolean;
};

/** Until a presence is asked for again that could not be read. */
const retryMs = 500;
const never = new AbortController().signal;

export class PresenceStreams {
  readonly #feed: LogFeed;
  readonly #streams: Streams;
  readonly #presence: (userId: UserId) => Promise<Presence>;
  readonly #followed = new Map<UserId, Followed>();

  constructor(feed: LogFeed, streams: Streams, presence: (userId: UserId) => Promise<Presence>) {
    this.#feed = feed;
    this.#streams = streams;
    this.#presence = presence;
    const readAll = (): void => {
      for (const followed of this.#followed.values()) this.#refresh(followed);
    };
    feed.listen({
      onFrames: (frames) => {
        for (const userId of new Set(frames.map((frame) => frame.userId))) {
          const followed = this.#followed.get(userId as UserId);
          if (followed !== undefined) this.#refresh(followed);
        }
      },
      onGone: readAll,
      onAhead: readAll,
      onErased: readAll,
    });
  }

  /** What is read before the answer begins; throws when it cannot be. */
  async first(userId: UserId): Promise<{ readonly head: number; readonly shown: Shown }> {
    const { head } = await this.#feed.pages.ends();
    return { head, shown: shownOf(await this.#presence(userId), head) };
  }

  /** Tells what `first` has read, and what comes after it. */
  begin(
    request: FastifyRequest,
    reply: FastifyReply,
    { userId, head, shown }: { readonly userId: UserId; readonly head: number; readonly shown: Shown },
  ): void {
    const followed = this.#followed.get(userId) ?? {
      userId,
      followers: new Set<Follower>(),
      position: head,
      shown,
      isReading: false,
      isOutdated: false,
    };
    this.#followed.set(userId, followed);
    const stream = this.#streams.begin(request, reply, {
      kind: 'presence',
      // While it is not known whether it still is so, there is no sign of life to give.
      position: () => (this.#feed.isCurrent ? Math.max(followed.position, this.#feed.position) : null),
      onBeat: () => this.#refresh(followed),
    });
    const follower: Follower = { stream, state: '', isWaiting: false };
    followed.followers.add(follower);
    this.#feed.join(head);
    stream.onEnded(() => {
      this.#feed.leave();
      followed.followers.delete(follower);
      if (followed.followers.size === 0) this.#followed.delete(userId);
    });
    if (this.#streams.room.isThere) this.#write(follower, shown);
    // What has come since `head`, and was told before this stream was there.
    this.#refresh(followed);
  }

  #refresh(followed: Followed): void {
    followed.isOutdated = true;
    if (!followed.isReading) void this.#read(followed);
  }

  async #read(followed: Followed): Promise<void> {
    followed.isReading = true;
    while (followed.isOutdated && followed.followers.size > 0) {
      followed.isOutdated = false;
      const position = Math.max(followed.position, this.#feed.position);
      const presence = await this.#presence(followed.userId).catch(() => null);
      if (presence === null) {
        followed.isOutdated = true;
        await pause(retryMs, never);
        continue;
      }
      followed.position = position;
      followed.shown = shownOf(presence, position);
      for (const follower of followed.followers) this.#show(follower, followed);
    }
    followed.isReading = false;
  }

  #show(follower: Follower, followed: Followed): void {
    const { stream } = follower;
    if (follower.isWaiting || follower.state === followed.shown.state) return;
    if (stream.unsentBytes === 0 && this.#streams.room.isThere) this.#write(follower, followed.shown);
    else void this.#showLater(follower, followed);
  }

  async #showLater(follower: Follower, followed: Followed): Promise<void> {
    const { stream } = follower;
    follower.isWaiting = true;
    await stream.drained();
    const giveBack = await this.#streams.room.reserve(stream, followed.shown.block.length);
    giveBack();
    follower.isWaiting = false;
    // Meanwhile it may have become again what was written last.
    if (stream.isOpen && follower.state !== followed.shown.state) this.#write(follower, followed.shown);
  }

  #write(follower: Follower, { block, state }: Shown): void {
    follower.state = state;
    follower.stream.write(block, performance.now());
  }
}

function shownOf(presence: Presence, position: number): Shown {
  const body = presenceBody(presence);
  const { asOf: _, ...state } = body;
  const block = Buffer.from(`id: ${position}\ndata: ${JSON.stringify(body)}\n\n`);
  return { block, state: JSON.stringify(state) };
}
