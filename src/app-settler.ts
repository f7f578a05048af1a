// The batches of one connection, in their order and two at a time: a batch is decided while the one before it is being written, on what that
// one is about to write. It is committed and acknowledged behind it (I9), and never past it: when a batch is given up, so is the one that was
// begun behind it, and the broker delivers both again, in their order.

import type { Settling } from './ingest/link.ts';
import type { Message } from './ingest/message.ts';
import { type Ahead, type AheadEnd, GivenUpError, type Order, type Plan } from './store/commit.ts';

/** The place of a batch behind the one before it. */
export type Turn = {
  /** Resolves when the batch before is decided, or over; then it plans nothing any more. */
  readonly ahead: () => Promise<Ahead>;
  /** To be called when this one is decided. */
  readonly onDecided: Order['onDecided'];
  /** Resolves when the batch before is committed and acknowledged. Throws GivenUpError when it was given up. */
  readonly come: () => Promise<void>;
};

const nothing: Plan = { users: new Map(), receipts: [] };

/** `settle` calls `onDecided` once at most, and later than it returns. */
export function settlerOf(
  settle: (batch: readonly Message[], turn: Turn) => Promise<void>,
): (batch: readonly Message[]) => Settling {
  let before: Pick<Turn, 'ahead' | 'come'> = {
    ahead: () => Promise.resolve({ ...nothing, end: Promise.resolve('as-planned' as const) }),
    come: () => Promise.resolve(),
  };
  return (batch) => {
    const { promise: decided, resolve: decide } = Promise.withResolvers<Ahead>();
    let ahead = decided;
    const onDecided: Turn['onDecided'] = (plan, isCommitted) =>
      decide({ ...plan, end: isCommitted.then((isAsPlanned) => (isAsPlanned ? 'as-planned' : over('anew'))) });
    const done = settle(batch, { ...before, onDecided });
    /** `end`, or that it was given up, when it is over. */
    const over = (end: AheadEnd): Promise<AheadEnd> =>
      done.then(
        () => end,
        () => 'given-up',
      );
    const end = over('as-planned');
    void end.then(() => {
      // What it wrote is read from here on: who is erased later must not be remembered. Without a signal, or failed before, it planned nothing.
      ahead = Promise.resolve({ ...nothing, end });
      decide(ahead);
    });
    const come = async (): Promise<void> => {
      if ((await end) === 'given-up') throw new GivenUpError('the batch before was given up');
    };
    before = { ahead: () => ahead, come };
    return { decided, done };
  };
}
