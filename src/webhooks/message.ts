// What a receiver is sent: the message of given events. Id and body follow from the endpoint
// and the events alone, so that every retry, replay and crash repeats them byte for byte.

import { createHash } from 'node:crypto';
import type { UserId } from '../core/ids.ts';
import type { Event } from '../core/session.ts';
import type { WebhookBody, WireEvent } from '../core/wire-event.ts';
import { invariant } from '../runtime/invariant.ts';

/** A committed event, with its place in the log. */
export type LogEvent = Event & { readonly position: number };
export type Message = { readonly id: string; readonly body: string };

export function wireEventOf(event: LogEvent): WireEvent {
  const { position, sequence, userId, sessionId, epoch, device } = event;
  const at = new Date(event.atMs).toISOString();
  switch (event.type) {
    case 'session.started':
    case 'user.online':
      return { position, sequence, type: event.type, userId, sessionId, epoch, device, at };
    case 'session.ended':
    case 'user.offline':
      invariant(event.reason !== null, 'an end has a reason');
      return { position, sequence, type: event.type, userId, sessionId, epoch, reason: event.reason, device, at };
  }
}

/** One event goes by itself, several as a batch, whose id stays the same when some of its events were erased. */
export function messageOf(
  endpointId: string,
  events: readonly LogEvent[],
  positions: readonly number[] = events.map(({ position }) => position),
): Message {
  const last = events.at(-1);
  invariant(last !== undefined, 'a message has an event');
  const newest = wireEventOf(last);
  if (positions.length === 1) {
    const body = { type: newest.type, timestamp: newest.at, data: newest };
    return { id: `${endpointId}_${last.position}`, body: JSON.stringify(body) };
  }
  return {
    id: batchIdOf(endpointId, positions),
    body: JSON.stringify({ type: 'batch', timestamp: newest.at, data: { events: events.map(wireEventOf) } }),
  };
}

/** 22 characters of base64url are 132 bits. */
export function batchIdOf(endpointId: string, positions: readonly number[]): string {
  const digest = createHash('sha256').update(positions.join(',')).digest('base64url');
  return `${endpointId}_b${digest.slice(0, 22)}`;
}

/** `random` tells the tests of an endpoint apart; letters, digits, `-` and `_` only. */
export function testMessage(endpointId: string, random: string, nowMs: number): Message {
  const body: WebhookBody = {
    type: 'webhook.test',
    timestamp: new Date(nowMs).toISOString(),
    data: { endpointId },
  };
  return { id: `${endpointId}_t${random}`, body: JSON.stringify(body) };
}

/** The lane of a user, of so many: 0 … of − 1. */
export function laneOf(userId: UserId, of: number): number {
  return laneHash(userId) % of;
}

/**
 * FNV-1a over UTF-8, then the finishing steps of MurmurHash3, without which its low bits, all that a remainder looks at,
 * mix badly. Lanes on disk rest on it: it may never change.
 */
export function laneHash(userId: UserId): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(userId, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
