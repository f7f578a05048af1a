// Parked events that somebody wants to be tried again: each is sent once, under the webhook-id that it always had, outside its lane. It is
// older than what the lane has sent since; a receiver tells by the sequence.

import type { Endpoint } from './lane.ts';
import { type LogEvent, type Message, messageOf } from './message.ts';
import type { Sent } from './send.ts';

export type DueParked = { readonly id: number; readonly endpointId: string; readonly event: LogEvent };

export type ParkedDeps = {
  /** As it is now; null when it is gone, disabled, or another process's to care for. */
  readonly endpoint: (id: string) => Endpoint | null;
  /** Takes the oldest that is due, for so long that nobody else sends it meanwhile. */
  readonly claim: (endpointId: string) => Promise<DueParked | null>;
  readonly send: (endpoint: Endpoint, message: Message, signal: AbortSignal) => Promise<Sent>;
  readonly settle: (parked: DueParked, message: Message, sent: Sent) => Promise<void>;
};

/** Those of one endpoint, one after the other, until none is due. */
export async function retryParked(endpointId: string, deps: ParkedDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && deps.endpoint(endpointId) !== null) {
    const parked = await deps.claim(endpointId);
    const endpoint = deps.endpoint(endpointId);
    if (parked === null || endpoint === null) return;
    const message = messageOf(endpoint.id, [parked.event]);
    await deps.settle(parked, message, await deps.send(endpoint, message, signal));
  }
}
