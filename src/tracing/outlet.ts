// The way out for spans: a queue with an end, and a collector that takes them or does not. Each span is counted once, as sent, failed or
// dropped; when some are lost it is said once, and once when the collector keeps up again.

import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { Logger } from '../runtime/logger.ts';

/** `failed`: the collector did not take it. `dropped`: there was no room for it. */
export type SpanOutcome = 'sent' | 'failed' | 'dropped';

export type OutletDeps = {
  readonly exporter: SpanExporter;
  readonly queueSpansMax: number;
  readonly logger: Logger;
  readonly onSpans: (outcome: SpanOutcome, spans: number) => void;
};

export class Outlet implements SpanExporter {
  readonly #deps: OutletDeps;
  /** Taken, and not handed to the collector yet. */
  #queued = 0;
  /** Handed to it, and not answered yet. */
  #underWay = 0;
  #isKeepingUp = true;
  /** Since it does not keep up. */
  #lost = 0;
  /** Since the collector has taken some. */
  #hasDropped = false;

  constructor(deps: OutletDeps) {
    this.#deps = deps;
  }

  /** Whether there is room for one more span. The processor behind it, which drops in silence, has room for as many. */
  take(): boolean {
    if (this.#queued < this.#deps.queueSpansMax) {
      this.#queued += 1;
      return true;
    }
    this.#hasDropped = true;
    this.#lose('dropped', 1);
    return false;
  }

  export(spans: Parameters<SpanExporter['export']>[0], done: Parameters<SpanExporter['export']>[1]): void {
    this.#queued -= spans.length;
    this.#underWay += spans.length;
    this.#deps.exporter.export(spans, (result) => {
      this.#underWay -= spans.length;
      if (result.error === undefined && result.code === 0) this.#sent(spans.length);
      else this.#lose('failed', spans.length, result.error);
      done(result);
    });
  }

  async shutdown(): Promise<void> {
    await this.#deps.exporter.shutdown();
  }

  /** Nothing waits for what is not sent by now. */
  leave(): void {
    const spans = this.#queued + this.#underWay;
    if (spans > 0) this.#lose('failed', spans);
  }

  #sent(spans: number): void {
    const { logger, onSpans } = this.#deps;
    onSpans('sent', spans);
    if (!this.#isKeepingUp && !this.#hasDropped) {
      logger.info({ event: 'traces.sent-again', unsent: this.#lost });
      this.#isKeepingUp = true;
      this.#lost = 0;
    }
    this.#hasDropped = false;
  }

  #lose(outcome: 'failed' | 'dropped', spans: number, err?: Error): void {
    const { logger, onSpans } = this.#deps;
    onSpans(outcome, spans);
    this.#lost += spans;
    if (!this.#isKeepingUp) return;
    this.#isKeepingUp = false;
    logger.warn({ event: 'traces.unsent', outcome, spans, ...(err !== undefined && { err }) });
  }
}
