// The two messages of a prepared session: the will and the birth that a backend hands to its client, which adds the epoch of each connection.
// They are made to be heard: whatever the ids and the pointers, what is handed out parses back to that user and that session.

import { epochMax, type SessionId, type UserId } from './ids.ts';
import { isJsonObject, type JsonObject, lookUp } from './json.ts';
import { payloadBytesMax } from './payload.ts';
import { type Device, parseMessage, type Wire } from './signal.ts';

export type PreparedMessage = { readonly topic: string; readonly payload: JsonObject };
export type PreparedMessages = { readonly will: PreparedMessage; readonly birth: PreparedMessage };

export type PreparedSession = {
  readonly userId: UserId;
  readonly sessionId: SessionId;
  readonly device: Device | null;
  readonly ticket: string;
};

/** The user stands in the topic too, so that a broker's ACL can bind it to the client. */
export function preparedMessages(session: PreparedSession, { topics, pointers }: Wire): PreparedMessages {
  const { userId, sessionId, device, ticket } = session;
  const level = levelOf(userId);
  const payloadOn = (base: JsonObject) => {
    const named = withField(withField(base, pointers.userId, userId), pointers.sessionId, sessionId);
    return withField(named, ['ticket'], ticket);
  };
  return {
    will: { topic: `${topics.logout}/${level}`, payload: payloadOn({}) },
    // An id may have its place within the device.
    birth: { topic: `${topics.login}/${level}`, payload: payloadOn(device === null ? {} : { device }) },
  };
}

/**
 * An ACL compares a level with the name that the client signed in with, letter by letter. So nothing is encoded but what MQTT lets no topic
 * have, or a broker may refuse in one (MQTT-1.5.4, MQTT-4.7), and what parsing takes for a level's end or for an encoding.
 */
function levelOf(userId: UserId): string {
  return userId.replaceAll(/[%/+#\p{Noncharacter_Code_Point}]/gu, encodeURIComponent);
}

/** For the `"reason": "logout"` of a goodbye. */
const roomBytes = 32;

/** Why these messages would not be heard for what they are, as a sentence; null when they will be. */
export function whyUnheard(
  { will, birth }: PreparedMessages,
  { userId, sessionId }: PreparedSession,
  wire: Wire,
  nowMs: number,
): string | null {
  const { epoch: place } = wire.pointers;
  for (const { topic, payload } of [will, birth]) {
    const bytes = bytesAtMost(withField(payload, place, epochMax)) + roomBytes;
    if (bytes > payloadBytesMax) {
      return `with these ids and this device a message could have ${bytes} bytes, and may have ${payloadBytesMax}`;
    }
    const whole = withField(payload, place, nowMs);
    const heard = parseMessage(topic, new TextEncoder().encode(JSON.stringify(whole)), wire, nowMs);
    if (heard.kind === 'refused') return heard.detail;
    // The payload by itself tells who it is.
    const isThere =
      lookUp(whole, wire.pointers.userId) === userId && lookUp(whole, wire.pointers.sessionId) === sessionId;
    const isSame = isThere && heard.userId === userId && heard.sessionId === sessionId && heard.epoch === nowMs;
    if (!isSame) return 'PAYLOAD_USER_ID, PAYLOAD_SESSION_ID and PAYLOAD_EPOCH do not lead to three places';
  }
  return null;
}

/** However a client writes JSON: some escape what is not ASCII, or could be HTML, and put a blank behind every comma and colon. */
function bytesAtMost(payload: JsonObject): number {
  const text = JSON.stringify(payload);
  const escaped = text.replaceAll(/[^\u0020-\u007e]|[&'<>]/gu, (character) => '\\uffff'.repeat(character.length));
  return escaped.length + (text.match(/[,:/]/gu)?.length ?? 0);
}

/** The object with a value at a place, and objects on the way there: a pointer's `0` is found in an object as in an array. */
export function withField(object: JsonObject, [name, ...path]: readonly string[], value: unknown): JsonObject {
  if (name === undefined) return object;
  const inner = lookUp(object, [name]);
  const field = path.length === 0 ? value : withField(isJsonObject(inner) ? inner : {}, path, value);
  // By entries, because a name can be `__proto__`.
  return Object.fromEntries([...Object.entries(object), [name, field]]);
}
