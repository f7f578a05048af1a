// What a lane sends, as spans: how long an event waited in the log, each request with its answer, and the whole way of each event to its 2xx. A request
// that carries several events is a span in the trace of the first, and linked with the others.

import { happeningOf, spanOf } from './app-tracing.ts';
import { rootOf, type SpanRef } from './tracing/trace-ids.ts';
import type { Tracing } from './tracing/tracing.ts';
import type { Delivery, Endpoint } from './webhooks/lane.ts';
import type { Sent } from './webhooks/send.ts';

/** Of one request. */
const linksMax = 100;

export async function traceDelivery(
  tracing: Tracing,
  { endpoint, delivery, tries, nowMs }: { endpoint: Endpoint; delivery: Delivery; tries: number; nowMs: () => number },
  send: (traceparent: string) => Promise<Sent>,
): Promise<Sent> {
  const roots = delivery.events.map((event) => rootOf(tracing.key, happeningOf(event)));
  const [first] = roots as [SpanRef];
  const post = { traceId: first.traceId, spanId: tracing.newSpanId() };
  const startMs = nowMs();
  const sent = await send(`00-${post.traceId}-${post.spanId}-${tracing.isSampled(post.traceId) ? '01' : '00'}`);
  const endMs = nowMs();
  const { status } = sent.attempt;
  const isDelivered = sent.attempt.kind === 'delivered';
  const others = roots.filter(({ traceId }) => traceId !== first.traceId);
  const [event] = delivery.events;
  tracing.ended({
    ...post,
    name: 'POST',
    kind: 'client',
    parent: first,
    startMs,
    endMs,
    attributes: {
      'http.request.method': 'POST',
      'server.address': new URL(endpoint.url).hostname,
      'http.request.resend_count': tries,
      'willow.webhook.endpoint': endpoint.id,
      'willow.webhook.id': delivery.message.id,
      'willow.webhook.events': delivery.events.length,
      'willow.webhook.outcome': sent.attempt.kind,
      ...(event !== undefined && { 'willow.event.position': event.position, 'willow.event.type': event.type }),
      ...(status !== null && { 'http.response.status_code': status }),
    },
    links: uniqueOf(others).slice(0, linksMax),
    error: isDelivered ? null : (sent.detail ?? sent.attempt.kind),
  });
  for (const [index, { atMs, position, type }] of delivery.events.entries()) {
    const root = roots[index] as SpanRef;
    const attributes = { 'willow.event.position': position, 'willow.event.type': type };
    const links = root.traceId === post.traceId ? [] : [post];
    const tell = (name: string, untilMs: number) =>
      tracing.ended(
        spanOf(tracing, root.traceId, { name, parent: root, startMs: atMs, endMs: untilMs, attributes, links }),
      );
    if (tries === 0) tell('log', startMs);
    if (isDelivered) tell('deliver', endMs);
  }
  return sent;
}

function uniqueOf(refs: readonly SpanRef[]): readonly SpanRef[] {
  return [...new Map(refs.map((ref) => [ref.traceId, ref])).values()];
}
