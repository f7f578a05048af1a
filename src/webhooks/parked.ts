// Parked events that somebody wants to be tried again: each is sent once, under the webhook-id that it always had, outside its lane. It is
// older than what the lane has sent since; a receiver tells by the sequence.

import type { Endpoint } from './lane.ts';
import { type LogEvent, type Message, messageOf } from './message.ts';
import type { Sent } from './send.ts';

export type DueParked = { readonly id: number; readonly endpointId: string; readonly event: LogEvent };

export type ParkedDeps = {
  readonly findDue: (endpointIds: readonly string[], rowsMax: number) => Promise<readonly DueParked[]>;
  readonly send: (endpoint: Endpoint, message: Message, signal: AbortSignal) => Promise<Sent>;
  readonly settle: (parked: DueParked, message: Message, sent: Sent) => Promise<void>;
};

const rowsMax = 500;

/** One after the other for each endpoint, all endpoints side by side. */
export async function retryParked(
  endpoints: readonly Endpoint[],
  deps: ParkedDeps,
  signal: AbortSignal,
): Promise<void> {
  if (endpoints.length === 0) return;
  const due = await deps.findDue(
    endpoints.map(({ id }) => id),
    rowsMax,
  );
  const byEndpoint = Map.groupBy(due, ({ endpointId }) => endpointId);
  const retry = async (endpoint: Endpoint): Promise<void> => {
    for (const parked of byEndpoint.get(endpoint.id) ?? []) {
      if (signal.aborted) return;
      const message = messageOf(endpoint.id, [parked.event]);
      await deps.settle(parked, message, await deps.send(endpoint, message, signal));
    }
  };
  await Promise.all(endpoints.map(retry));
}
