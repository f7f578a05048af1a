// What a lane sends, as spans: how long an event waited in the log, each request with its answer, and the whole way of each event to its 2xx. A request
// that carries several events is a span in the trace of the first whose trace is sent, and linked with the others.

import { happeningOf, spanOf } from './app-tracing.ts';
import { rootOf, type SpanRef } from './tracing/trace-ids.ts';
import type { EndedSpan, Tracing } from './tracing/tracing.ts';
import type { Delivery, Endpoint } from './webhooks/lane.ts';
import type { Sent } from './webhooks/send.ts';

/** Of one request. */
const linksMax = 100;

export async function traceDelivery(
  tracing: Tracing,
  { endpoint, delivery, tries, nowMs }: { endpoint: Endpoint; delivery: Delivery; tries: number; nowMs: () => number },
  send: (traceparent: string) => Promise<Sent>,
): Promise<Sent> {
  const sampled = sampledOf(tracing, delivery.events);
  const [first] = sampled;
  const { traceId } = first?.root ?? rootOf(tracing.key, happeningOf(delivery.events[0] as Event));
  const post = { traceId, spanId: tracing.newSpanId() };
  const startMs = nowMs();
  const sent = await send(`00-${post.traceId}-${post.spanId}-${first === undefined ? '00' : '01'}`);
  // What is not sent, the receiver is told all the same.
  if (first === undefined) return sent;
  const endMs = nowMs();
  const isDelivered = sent.attempt.kind === 'delivered';
  const others = sampled.map(({ root }) => root).filter((root) => root.traceId !== post.traceId);
  tracing.ended({
    ...post,
    name: 'POST',
    kind: 'client',
    parent: first.root,
    startMs,
    endMs,
    attributes: attributesOf(endpoint, delivery, tries, sent),
    links: uniqueOf(others).slice(0, linksMax),
    error: isDelivered ? null : (sent.detail ?? sent.attempt.kind),
  });
  for (const { root, event } of sampled) {
    const { atMs, position, type } = event;
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

type Event = Delivery['events'][number];

function sampledOf(tracing: Tracing, events: Delivery['events']): readonly { root: SpanRef; event: Event }[] {
  return events.flatMap((event) => {
    const happening = happeningOf(event);
    return tracing.isSampled(happening) ? [{ root: rootOf(tracing.key, happening), event }] : [];
  });
}

function attributesOf(
  endpoint: Endpoint,
  delivery: Delivery,
  tries: number,
  { attempt }: Sent,
): EndedSpan['attributes'] {
  const [event] = delivery.events;
  return {
    'http.request.method': 'POST',
    'server.address': new URL(endpoint.url).hostname,
    'http.request.resend_count': tries,
    'willow.webhook.endpoint': endpoint.id,
    'willow.webhook.id': delivery.message.id,
    'willow.webhook.events': delivery.events.length,
    'willow.webhook.outcome': attempt.kind,
    ...(event !== undefined && { 'willow.event.position': event.position, 'willow.event.type': event.type }),
    ...(attempt.status !== null && { 'http.response.status_code': attempt.status }),
  };
}

function uniqueOf(refs: readonly SpanRef[]): readonly SpanRef[] {
  return [...new Map(refs.map((ref) => [ref.traceId, ref])).values()];
}
