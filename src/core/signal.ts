// The wire boundary: topic + payload → a signal, or the reason why not. After this nobody validates again.

import type { z } from 'zod';
import { ClientId, defaultSessionId, Epoch, isStorableText, SessionId, UserId } from './ids.ts';
import { isJsonObject, type JsonObject } from './json.ts';
import { type PayloadFields, type PayloadPointers, parsePayload } from './payload.ts';
import { type Ticket, type TicketRules, ticketFor } from './ticket.ts';
import { parseTopic, type Topics } from './topic.ts';

export type Device = JsonObject;

type Heard = {
  readonly userId: UserId;
  readonly epoch: Epoch | null;
  readonly clientId: ClientId | null;
  readonly device: Device | null;
  /** A redelivery of what was committed before, known by its receipt: only for signals without an epoch. */
  readonly isRedelivery: boolean;
  /** It names this user and this session, and its signature is ours; null where none came, and none is needed. */
  readonly ticket: Ticket | null;
};
export type Login = Heard & { readonly kind: 'login'; readonly sessionId: SessionId };
/** A will, or a goodbye that the client published itself. Without a session id: every live session of the user. */
export type Leave = Heard & { readonly kind: 'will' | 'logout'; readonly sessionId: SessionId | null };
/** A backend vouches for a session before its client is heard: it becomes live at once. */
export type Prepare = {
  readonly kind: 'prepare';
  readonly userId: UserId;
  readonly sessionId: SessionId;
  readonly device: Device | null;
  /** In place of LEASE_MS; null for that. */
  readonly leaseMs: number | null;
  /** Of the key that signed its ticket. */
  readonly keyId: string;
};
/** What a message can say. */
export type MessageSignal = Login | Leave;

export type Signal =
  | MessageSignal
  /** A backend ends one session, or all of a user. */
  | { readonly kind: 'kick'; readonly userId: UserId; readonly sessionId: SessionId | null }
  | Prepare
  /** Time passed: the deadlines of this user that are due may lapse. */
  | { readonly kind: 'lapse'; readonly userId: UserId };

/** Why a message means nothing. Closed: each has a meaning and a remedy in the docs. */
export const quarantineReasons = [
  'unknown-topic',
  'bad-topic',
  'payload-too-large',
  'not-utf8',
  'not-json',
  'bad-shape',
  'no-user-id',
  'bad-user-id',
  'bad-session-id',
  'bad-client-id',
  'bad-epoch',
  'epoch-ahead',
  'bad-reason',
  'bad-device',
  'identity-mismatch',
  'no-ticket',
  'bad-ticket',
  'expired-ticket',
  'wrong-user',
  'unstorable',
] as const;
export type QuarantineReason = (typeof quarantineReasons)[number];

export type Refused = { readonly kind: 'refused'; readonly reason: QuarantineReason; readonly detail: string };
export type ParsedMessage = MessageSignal | Refused;

export type Wire = {
  readonly topics: Topics;
  readonly pointers: PayloadPointers;
  readonly tickets: TicketRules;
};

/** An epoch from here on is a time in ms (September 2001 …), below it a counter. */
const epochTimeMin = 1e12;
/** A device whose clock is further ahead would lock itself out once its clock is right again. */
export const epochAheadMsMax = 24 * 3600 * 1000;
export const deviceBytesMax = 1024;

export function parseMessage(topic: string, payload: Uint8Array, wire: Wire, nowMs: number): ParsedMessage {
  const place = parseTopic(topic, wire.topics);
  if (place.kind === 'refused') return place;
  const content = parsePayload(payload, wire.pointers);
  if (content.kind === 'refused') return content;
  const { fields } = content;

  const userId = identityOf(UserId, 'bad-user-id', place.userId, fields.userId);
  if (isRefused(userId)) return userId;
  if (userId === null) return refuse('no-user-id', 'neither the topic nor the payload names a user');
  const namedSession = identityOf(SessionId, 'bad-session-id', place.sessionId, fields.sessionId);
  if (isRefused(namedSession)) return namedSession;
  const clientId = identityOf(ClientId, 'bad-client-id', null, fields.clientId);
  if (isRefused(clientId)) return clientId;
  const epoch = epochOf(fields.epoch, nowMs);
  if (isRefused(epoch)) return epoch;
  const noDevice = whyNoDevice(fields.device ?? null);
  if (noDevice !== null) return refuse('bad-device', noDevice);
  const device = (fields.device ?? null) as Device | null;

  const kind = place.kind === 'login' ? 'login' : leaveKindOf(fields);
  if (isRefused(kind)) return kind;
  const named = namedSession ?? sessionOfClient(clientId);
  const ticket = ticketFor({ isBirth: kind === 'login', userId, sessionId: named }, fields.ticket, wire.tickets, nowMs);
  if (isRefused(ticket)) return ticket;

  const heard = { userId, epoch, clientId, device, isRedelivery: false, ticket };
  // The will with one session's ticket never ends the others.
  const sessionId = named ?? sessionOfTicket(ticket);
  if (kind === 'login') return { kind, ...heard, sessionId: sessionId ?? defaultSessionId };
  return { kind, ...heard, sessionId: sessionId ?? (epoch === null ? null : defaultSessionId) };
}

/** It was a session id when it was signed. */
function sessionOfTicket(ticket: Ticket | null): SessionId | null {
  return (ticket?.sessionId ?? null) as SessionId | null;
}

/** A client that names no session is one session: its client id obeys the same rules as a session id. */
function sessionOfClient(clientId: ClientId | null): SessionId | null {
  return clientId as string | null as SessionId | null;
}

/** The id that topic and payload agree on; null where neither names one. */
function identityOf<Schema extends z.ZodType<string>>(
  schema: Schema,
  reason: QuarantineReason,
  inTopic: string | null,
  inPayload: unknown,
): z.output<Schema> | null | Refused {
  const isAbsent = inPayload === undefined || inPayload === null;
  if (isAbsent && inTopic === null) return null;
  if (!isAbsent && inTopic !== null && inPayload !== inTopic) {
    return refuse('identity-mismatch', 'the payload disagrees with the topic');
  }
  const parsed = schema.safeParse(inTopic ?? inPayload);
  if (parsed.success) return parsed.data;
  return refuse(reason, `the id ${parsed.error.issues[0]?.message ?? 'is malformed'}`);
}

function epochOf(value: unknown, nowMs: number): Epoch | null | Refused {
  if (value === undefined || value === null) return null;
  const parsed = Epoch.safeParse(value);
  if (!parsed.success) return refuse('bad-epoch', 'an epoch is a whole number from 0 to 2^53 − 1');
  if (parsed.data >= epochTimeMin && parsed.data > nowMs + epochAheadMsMax) {
    return refuse('epoch-ahead', 'the epoch is a time more than 24 h ahead');
  }
  return parsed.data;
}

function leaveKindOf(fields: PayloadFields): 'will' | 'logout' | Refused {
  switch (fields.reason) {
    case undefined:
    case null:
    case 'will':
      return 'will';
    case 'logout':
      return 'logout';
    default:
      return refuse('bad-reason', 'a reason is "will" or "logout"');
  }
}

/** As a sentence; null for a device, and for none. A device can say anything: what it says is never taken for a word of ours. */
export function whyNoDevice(value: unknown): string | null {
  if (value === null) return null;
  if (!isJsonObject(value)) return 'a device is a JSON object';
  if (jsonBytesOf(value) > deviceBytesMax) return `a device is at most ${deviceBytesMax} bytes of JSON`;
  return isStorableJson(value) ? null : 'a text has a control character or a lone surrogate';
}

function jsonBytesOf(value: object): number {
  try {
    return new TextEncoder().encode(JSON.stringify(value)).length;
  } catch (error) {
    // Nested so deep that it cannot be written has more brackets than any limit of ours allows.
    if (error instanceof RangeError) return Number.POSITIVE_INFINITY;
    throw error;
  }
}

/** The limit of a device bounds the depth of this recursion. */
function isStorableJson(value: unknown): boolean {
  if (typeof value === 'string') return isStorableText(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, inner]) => isStorableText(key) && isStorableJson(inner));
}

function refuse(reason: QuarantineReason, detail: string): Refused {
  return { kind: 'refused', reason, detail };
}

function isRefused(value: unknown): value is Refused {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'refused';
}
