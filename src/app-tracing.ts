// Traces, plugged together: what a batch decided and what a lane sent become spans, under ids that every process derives for itself. It comes after
// the work, out of what was known anyway, and writes nothing to the database. Where nothing is traced, none of this is asked.

import type { Decision, Moment } from './core/decide.ts';
import { connectionEpoch, type Event, type LostSession, type UserState } from './core/session.ts';
import type { Signal } from './core/signal.ts';
import type { Decide } from './store/commit.ts';
import type { Happening } from './tracing/sampling.ts';
import type { SpanRef } from './tracing/trace-ids.ts';
import { parseTraceparent, rootOf } from './tracing/trace-ids.ts';
import type { EndedSpan, Tracing } from './tracing/tracing.ts';

type Decided = { readonly before: UserState; readonly decision: Decision; readonly atMs: number };

type Told = Pick<EndedSpan, 'name' | 'parent' | 'startMs' | 'endMs'> & Partial<EndedSpan>;

/** A span with an id of its own. */
export function spanOf(tracing: Tracing, traceId: string, told: Told): EndedSpan {
  return { traceId, spanId: tracing.newSpanId(), kind: 'internal', attributes: {}, links: [], error: null, ...told };
}

/** Of what happens at an event, which tells all that it takes to find its trace. */
export function happeningOf({ type, userId, sessionId, epoch, atMs }: Event): Happening {
  const phase = type === 'session.started' || type === 'user.online' ? 'start' : 'end';
  return { phase, userId, sessionId, epoch, atMs };
}

/** A will that began a grace is found again by the session that it left. */
function lossOf(user: UserState, session: LostSession, graceMs: number): Happening {
  const { sessionId } = session;
  const atMs = session.graceUntilMs - graceMs;
  return { phase: 'end', userId: user.userId, sessionId, epoch: connectionEpoch(session), atMs };
}

/** Signals that are decided and committed together. */
export class BatchTrace {
  readonly decide: Decide;
  readonly #tracing: Tracing;
  readonly #graceMs: number;
  readonly #startMs: number;
  /** By the signal: what is decided again counts as it was decided last. */
  readonly #decided = new Map<Signal, Decided>();
  readonly #links = new Map<Signal, SpanRef>();

  constructor(
    tracing: Tracing,
    decide: Decide,
    { graceMs, nowMs }: { readonly graceMs: number; readonly nowMs: number },
  ) {
    this.#tracing = tracing;
    this.#graceMs = graceMs;
    this.#startMs = nowMs;
    this.decide = (before, signal, moment: Moment) => {
      const decision = decide(before, signal, moment);
      if (decision.user === before) this.#decided.delete(signal);
      else this.#decided.set(signal, { before, decision, atMs: moment.nowMs });
      return decision;
    };
  }

  /** What its publisher says that its own trace is. */
  link(entries: readonly { readonly signal: Signal; readonly traceparent: string | null }[]): void {
    for (const { signal, traceparent } of entries) {
      const ref = traceparent === null ? null : parseTraceparent(traceparent);
      if (ref !== null) this.#links.set(signal, ref);
    }
  }

  /** Everything is committed, and acknowledged. */
  end(nowMs: number): void {
    for (const [signal, decided] of this.#decided) this.#tell(signal, decided, nowMs);
  }

  #tell(signal: Signal, { before, decision, atMs }: Decided, nowMs: number): void {
    const { userId } = decision.user;
    const traced = new Set<string>();
    for (const event of decision.events) {
      if (event.type !== 'session.started' && event.type !== 'session.ended') continue;
      const prior = before.sessions.get(event.sessionId);
      const lost = event.type === 'session.ended' && prior?.status === 'lost' ? prior : null;
      this.#tellOne(
        signal,
        happeningOf({ ...event, userId }),
        lost === null ? null : lossOf(before, lost, this.#graceMs),
        {
          atMs,
          nowMs,
          traced,
        },
      );
    }
    for (const session of decision.user.sessions.values()) {
      if (session.status !== 'lost' || session === before.sessions.get(session.sessionId)) continue;
      this.#tellOne(signal, lossOf(decision.user, session, session.graceUntilMs - atMs), null, { atMs, nowMs, traced });
    }
  }

  /** `loss`: the will before, whose grace is over with this. */
  #tellOne(
    signal: Signal,
    happening: Happening,
    loss: Happening | null,
    { atMs, nowMs, traced }: { readonly atMs: number; readonly nowMs: number; readonly traced: Set<string> },
  ): void {
    const tracing = this.#tracing;
    if (!tracing.isSampled(happening)) return;
    const root = rootOf(tracing.key, happening);
    const { traceId } = root;
    if (traced.has(traceId)) return;
    traced.add(traceId);
    const before = loss === null ? null : rootOf(tracing.key, loss);
    const tell = (told: Told) => tracing.ended(spanOf(tracing, traceId, told));
    // Whoever heard the will has told the beginning of the same trace.
    if (before?.traceId !== traceId) {
      const own = this.#links.get(signal);
      const links = [...(own === undefined ? [] : [own]), ...(before === null ? [] : [before])];
      const kind =
        signal.kind === 'lapse' || signal.kind === 'kick' || signal.kind === 'prepare' ? 'internal' : 'consumer';
      const attributes = {
        'willow.signal.kind': signal.kind,
        ...(kind === 'consumer' && { 'messaging.system': 'mqtt' }),
      };
      tell({ ...root, name: signal.kind, kind, parent: null, startMs: atMs, endMs: nowMs, attributes, links });
    }
    if (loss !== null) tell({ name: 'grace', parent: root, startMs: loss.atMs, endMs: atMs });
    const attributes = { 'willow.batch.signals': this.#decided.size };
    tell({ name: 'decide and commit', parent: root, startMs: Math.max(this.#startMs, atMs), endMs: nowMs, attributes });
  }
}
