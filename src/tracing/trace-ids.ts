// Which trace something belongs to, derived from what everybody who touches it knows: the process that hears a will, the one that finds its grace
// to be over, and the one that tells a receiver need not tell each other. It is a keyed digest: whoever sees a trace cannot try users until one fits,
// for the key is the database's own. Whoever reads the database can.

import { createHmac } from 'node:crypto';
import type { Happening } from './sampling.ts';

/** As W3C Trace Context has them: lower-case hexadecimal, 16 bytes and 8. */
export type SpanRef = { readonly traceId: string; readonly spanId: string };

/** The trace of this happening, and its first span. */
export function rootOf(key: string, { phase, userId, sessionId, epoch, atMs }: Happening): SpanRef {
  const told = JSON.stringify([phase, userId, sessionId, epoch ?? ['at', atMs]]);
  const digest = createHmac('sha256', key).update(`trace:${told}`).digest('hex');
  return { traceId: digest.slice(0, 32), spanId: digest.slice(32, 48) };
}

/** What a publisher of MQTT 5, or anybody else, says that its own trace is; null when it means nothing. */
export function parseTraceparent(text: string): SpanRef | null {
  const [, traceId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/u.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined || /^0+$/u.test(traceId) || /^0+$/u.test(spanId)) return null;
  return { traceId, spanId };
}
