// A share of something that there is little of: so many at once, and whoever comes meanwhile waits in order. How many may wait is bounded where
// they come from; for how long, here, where it is said.

export type InTurn = <Result>(work: () => Promise<Result>) => Promise<Result>;

type Patience = {
  readonly waitMsMax: number;
  /** What is thrown where the turn does not come in time. */
  readonly error: () => Error;
};

type Waiting = { readonly begin: () => void; readonly timer: NodeJS.Timeout | undefined };

/** Without patience whoever waits does so until his turn comes. */
export function atMost(max: number, patience: Patience | null = null): InTurn {
  let underWay = 0;
  const waiting = new Set<Waiting>();

  const turn = (): Promise<void> => {
    if (underWay < max) {
      underWay += 1;
      return Promise.resolve();
    }
    return new Promise((begin, fail) => {
      const giveUp = ({ error }: Patience): void => {
        waiting.delete(one);
        fail(error());
      };
      const timer = patience === null ? undefined : setTimeout(giveUp, patience.waitMsMax, patience);
      const one: Waiting = { begin, timer };
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

  return async (work) => {
    await turn();
    try {
      return await work();
    } finally {
      leave();
    }
  };
}
