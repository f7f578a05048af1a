// A message as the broker delivered it. What matters of it is small: a payload that is too large to mean anything is cut at receipt,
// so that what waits in memory stays bounded.

import { payloadBytesMax } from '../core/payload.ts';

export type Message = {
  readonly topic: string;
  /** Cut to one byte more than is allowed, so that parsing still finds it too large. */
  readonly payload: Uint8Array;
  /** Of the payload as it came. */
  readonly payloadBytes: number;
  readonly isRetained: boolean;
  /** The DUP flag: the broker may have delivered it before. */
  readonly isDuplicate: boolean;
  /** What its PUBACK names; null for QoS 0, which knows no acknowledgement. */
  readonly packetId: number | null;
  readonly receivedAtMs: number;
  /** The user property of MQTT 5, where it has the length of one. */
  readonly traceparent: string | null;
};

const traceparentCharacters = 55;

type Publish = {
  readonly topic: string;
  readonly payload: string | Buffer;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly qos: 0 | 1 | 2;
  readonly messageId?: number | undefined;
  readonly properties?: { readonly userProperties?: Readonly<Record<string, unknown>> } | undefined;
};

export function messageOf(packet: Publish, receivedAtMs: number): Message {
  const whole = packet.payload as Buffer;
  return {
    topic: packet.topic,
    // A copy: a slice would keep everything alive that came in the same read.
    payload: Uint8Array.from(whole.subarray(0, payloadBytesMax + 1)),
    payloadBytes: whole.length,
    isRetained: packet.retain,
    isDuplicate: packet.dup,
    packetId: packet.qos === 0 ? null : (packet.messageId ?? null),
    receivedAtMs,
    traceparent: traceparentOf(packet.properties?.userProperties),
  };
}

function traceparentOf(properties: Readonly<Record<string, unknown>> | undefined): string | null {
  const text = properties?.['traceparent'];
  return typeof text === 'string' && text.length === traceparentCharacters ? text : null;
}
