// A batch of messages, from the wire to the database: parse → decide → commit → acknowledge. Every message ends in exactly one outcome,
// which is counted (I10), and none is acknowledged before what it says is committed (I9).

import { createHash } from 'node:crypto';
import type { Outcome } from '../core/decide.ts';
import {
  type MessageSignal,
  type ParsedMessage,
  parseMessage,
  type QuarantineReason,
  type Wire,
} from '../core/signal.ts';
import type { Message } from './message.ts';

export type SignalEntry = {
  readonly signal: MessageSignal;
  readonly nowMs: number;
  readonly receipt: { readonly packetId: number; readonly digest: Buffer } | null;
  readonly mayBeCommitted: boolean;
  readonly traceparent: string | null;
};

export type QuarantineEntry = {
  readonly message: Message;
  readonly reason: QuarantineReason;
  readonly detail: string;
};

export type Settled =
  | { readonly kind: 'retained' }
  | { readonly kind: 'quarantined'; readonly reason: QuarantineReason }
  | { readonly kind: MessageSignal['kind']; readonly outcome: Outcome; readonly signal: MessageSignal };

export type IngestDeps = {
  readonly wire: Wire;
  /** Decides and commits, all or nothing; one outcome for each entry. `isAgain`: not the whole batch for the first time. */
  readonly commit: (entries: readonly SignalEntry[], isAgain: boolean) => Promise<readonly Outcome[]>;
  readonly quarantine: (entries: readonly QuarantineEntry[]) => Promise<void>;
  /** Whether the database will never take this data, however often it is offered. */
  readonly isRefusedForItsData: (error: unknown) => boolean;
  /** Does it again while it fails for want of a database; throws when the attempt was given up. */
  readonly persist: <Result>(step: (isRetry: boolean) => Promise<Result>) => Promise<Result>;
  /** Resolves when the batch before has been acknowledged. */
  readonly turn: () => Promise<void>;
  readonly acknowledge: (batch: readonly Message[]) => void;
};

/** Settles the whole batch, in its order, or throws and has acknowledged none of it. */
export async function ingest(batch: readonly Message[], deps: IngestDeps): Promise<readonly Settled[]> {
  const parsed = batch.map((message) => parse(message, deps.wire));
  const unclear = parsed.flatMap(({ message, content }) =>
    content.kind === 'refused' ? [{ message, ...content }] : [],
  );
  if (unclear.length > 0) await deps.persist(() => deps.quarantine(unclear));
  const entries = parsed.flatMap(({ message, content }) => (isSignal(content) ? [entryOf(message, content)] : []));
  const outcomes = await commitOrHalve(entries, deps);
  await deps.turn();
  deps.acknowledge(batch);
  let next = 0;
  return parsed.map(({ content }): Settled => {
    if (content.kind === 'retained') return content;
    if (content.kind === 'refused') return { kind: 'quarantined', reason: content.reason };
    const outcome = outcomes[next++];
    if (outcome === undefined || outcome === 'unstorable') return { kind: 'quarantined', reason: 'unstorable' };
    return { kind: content.kind, outcome, signal: content };
  });
}

type Parsed = { readonly message: Message; readonly content: ParsedMessage | { readonly kind: 'retained' } };

function parse(message: Message, wire: Wire): Parsed {
  // A retained message is a replay of something that was heard when it happened.
  if (message.isRetained) return { message, content: { kind: 'retained' } };
  return { message, content: parseMessage(message.topic, message.payload, wire, message.receivedAtMs) };
}

function isSignal(content: Parsed['content']): content is MessageSignal {
  return content.kind !== 'retained' && content.kind !== 'refused';
}

type Pair = SignalEntry & { readonly message: Message };

function entryOf(message: Message, signal: MessageSignal): Pair {
  // Epochs tell a redelivery by themselves; what has none is told by its packet id and content (I4).
  const needsReceipt = signal.epoch === null && message.packetId !== null;
  const receipt = needsReceipt ? { packetId: message.packetId, digest: digestOf(message) } : null;
  const { receivedAtMs: nowMs, isDuplicate: mayBeCommitted, traceparent } = message;
  return { message, signal, nowMs, receipt, mayBeCommitted, traceparent };
}

function digestOf({ topic, payload }: Message): Buffer {
  return createHash('sha256').update(topic).update('\0').update(payload).digest().subarray(0, 16);
}

/** A batch that the database refuses for its data is halved until the culprit stands alone; that one is quarantined. */
async function commitOrHalve(
  entries: readonly Pair[],
  deps: IngestDeps,
  isHalf = false,
): Promise<readonly (Outcome | 'unstorable')[]> {
  if (entries.length === 0) return [];
  try {
    return await deps.persist((isRetry) =>
      isRetry
        ? deps.commit(
            entries.map((entry) => ({ ...entry, mayBeCommitted: true })),
            true,
          )
        : deps.commit(entries, isHalf),
    );
  } catch (error) {
    if (!deps.isRefusedForItsData(error)) throw error;
    const [culprit] = entries;
    if (entries.length === 1 && culprit !== undefined) {
      const { message } = culprit;
      await deps.persist(() =>
        deps.quarantine([{ message, reason: 'unstorable', detail: 'the database refuses what it says' }]),
      );
      return ['unstorable'];
    }
    const middle = Math.ceil(entries.length / 2);
    const first = await commitOrHalve(entries.slice(0, middle), deps, true);
    return [...first, ...(await commitOrHalve(entries.slice(middle), deps, true))];
  }
}
