// A share of the connections: so many at once, and whoever comes meanwhile waits in order. Reads that are dear have one, so that those that are
// cheap, the keys and what tells whether the process is well always find a connection. How many may wait is bounded where requests are
// (http/limits.ts); how long, here, as it is for a connection.

import { DatabaseAwayError } from './database.ts';

export type InTurn = <Result>(read: () => Promise<Result>) => Promise<Result>;

type Waiting = { readonly begin: () => void; readonly timer: NodeJS.Timeout };

/** Throws DatabaseAwayError where the turn does not come in time. */
export function atMost(readsMax: number, waitMsMax: number): InTurn {
  let underWay = 0;
  const waiting = new Set<Waiting>();

  const turn = (): Promise<void> => {
    if (underWay < readsMax) {
      underWay += 1;
      return Promise.resolve();
    }
    return new Promise((begin, fail) => {
      const giveUp = (): void => {
        waiting.delete(one);
        fail(new DatabaseAwayError('too many dear reads are waiting'));
      };
      const one: Waiting = { begin, timer: setTimeout(giveUp, waitMsMax) };
      waiting.add(one);
    });
  };

  const leave = (): void => {
    const [next] = waiting;
    if (next === undefined) {
      underWay -= 1;
      return;
    }
    // Its turn is handed on: nobody comes in between.
    waiting.delete(next);
    clearTimeout(next.timer);
    next.begin();
  };

  return async (read) => {
    await turn();
    try {
      return await read();
    } finally {
      leave();
    }
  };
}
