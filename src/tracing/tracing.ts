// Spans, when they are over, on their way to a collector. Nothing here is ever waited for, and no failure is felt: what does not fit the queue is
// dropped, and what the collector does not take in time is forgotten. The libraries are loaded by whoever needs them, and by nobody else.

import { randomBytes } from 'node:crypto';
import { type Link, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Logger } from '../runtime/logger.ts';
import { Outlet, type OutletDeps } from './outlet.ts';
import { type Happening, Sampling } from './sampling.ts';
import type { SpanRef } from './trace-ids.ts';

export type EndedSpan = SpanRef & {
  readonly name: string;
  readonly kind: 'consumer' | 'internal' | 'client';
  /** Null: the first of its trace. */
  readonly parent: SpanRef | null;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly links: readonly SpanRef[];
  /** Why it came to nothing; null when it did not. */
  readonly error: string | null;
};

export type Tracing = AsyncDisposable & {
  /** What trace ids are derived with. */
  readonly key: string;
  /** Whether the trace of this is sent: the same in every process. */
  readonly isSampled: (happening: Happening) => boolean;
  readonly newSpanId: () => string;
  /** Only of what is sampled. */
  readonly ended: (span: EndedSpan) => void;
};

export type TracingOptions = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  readonly version: string;
  readonly ratio: number;
  readonly key: string;
  readonly logger: Logger;
  readonly onSpans: OutletDeps['onSpans'];
};

const queueSpansMax = 4_096;
const batchSpansMax = 512;
const exportEveryMs = 1_000;
const exportMsMax = 5_000;
/** What is still queued when the process stops; a collector that is away does not hold it up. */
const flushMsMax = 1_000;

const kinds = { consumer: SpanKind.CONSUMER, internal: SpanKind.INTERNAL, client: SpanKind.CLIENT } as const;

export function openTracing(options: TracingOptions): Tracing {
  const { logger, onSpans } = options;
  const outlet = new Outlet({ exporter: exporterOf(options), queueSpansMax, logger, onSpans });
  const sampling = new Sampling(options.key, options.ratio);
  let next: SpanRef = { traceId: '', spanId: '' };
  const provider = new TracerProvider({
    sampler: new AlwaysOnSampler(),
    resource: resourceFromAttributes({ 'service.name': options.serviceName, 'service.version': options.version }),
    // Both are known before a span is begun.
    idGenerator: { generateTraceId: () => next.traceId, generateSpanId: () => next.spanId },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: outlet,
        maxQueueSize: queueSpansMax,
        maxExportBatchSize: batchSpansMax,
        scheduledDelayMillis: exportEveryMs,
        exportTimeoutMillis: exportMsMax,
      }),
    ],
  });
  const tracer = provider.getTracer('willow', options.version);
  return {
    key: options.key,
    isSampled: (happening) => sampling.has(happening),
    newSpanId: () => randomBytes(8).toString('hex'),
    ended: ({ name, kind, parent, startMs, endMs, attributes, links, error, ...ids }) => {
      if (!outlet.take()) return;
      next = ids;
      const context = parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, contextOf(parent));
      const about = { kind: kinds[kind], startTime: startMs, attributes, links: links.map(linkOf) };
      const span = tracer.startSpan(name, about, context);
      if (error !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(Math.max(startMs, endMs));
    },
    [Symbol.asyncDispose]: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, flushMsMax);
      await Promise.race([provider.shutdown().catch(() => undefined), promise]);
      clearTimeout(timer);
      outlet.leave();
    },
  };
}

const contextOf = (ref: SpanRef) => ({ ...ref, traceFlags: TraceFlags.SAMPLED, isRemote: true });
const linkOf = (ref: SpanRef): Link => ({ context: contextOf(ref) });

function exporterOf({ url, headers }: TracingOptions): OTLPTraceExporter {
  return new OTLPTraceExporter({
    url: `${url.replace(/\/+$/u, '')}/v1/traces`,
    headers: { ...headers },
    timeoutMillis: exportMsMax,
  });
}
