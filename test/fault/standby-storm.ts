// Logins and goodbyes without an end, while the processes that hear them come and go.

import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync } from 'mqtt';
import type { ModelMessage } from '../support/model.ts';
import { comingsAndGoings, publicationOf } from './broker-witness.ts';

export type Storm = AsyncDisposable & {
  /** Everything that the broker took, in order. */
  readonly end: () => Promise<readonly ModelMessage[]>;
};

const userIds = Array.from({ length: 20 }, (_, index) => `user-${index}`);
const epochsMax = 2_000;
/** Some 1,000 messages a second: what piles up while nobody listens is caught up with in a moment. */
const gust = { messages: 20, pauseMs: 20 };

/** One message after the other, each when the broker has taken the one before. */
export async function startStorm(url: string): Promise<Storm> {
  const client = await connectAsync(url, { reconnectPeriod: 0 });
  const taken: ModelMessage[] = [];
  let isOver = false;
  const blow = async () => {
    for (const message of comingsAndGoings(userIds, epochsMax)) {
      if (isOver) return;
      const { topic, payload } = publicationOf(message);
      await client.publishAsync(topic, payload, { qos: 1 });
      taken.push(message);
      if (taken.length % gust.messages === 0) await delay(gust.pauseMs);
    }
  };
  const blowing = blow();
  // A broker that fails is seen by whoever ends the storm.
  blowing.catch(() => undefined);
  const end = async () => {
    isOver = true;
    await blowing;
    return taken;
  };
  return {
    end,
    async [Symbol.asyncDispose]() {
      await end().catch(() => undefined);
      await client.endAsync(true);
    },
  };
}
