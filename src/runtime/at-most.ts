// A share of something that there is little of: so many at once, and whoever comes meanwhile waits in order. How many may wait is bounded where
// they come from.

export type InTurn = <Result>(work: () => Promise<Result>) => Promise<Result>;

export function atMost(max: number): InTurn {
  let underWay = 0;
  const waiting = new Set<() => void>();

  const turn = (): Promise<void> => {
    if (underWay < max) {
      underWay += 1;
      return Promise.resolve();
    }
    return new Promise((begin) => void waiting.add(begin));
  };

  const leave = (): void => {
    const [next] = waiting;
    if (next === undefined) {
      underWay -= 1;
      return;
    }
    // Its turn is handed on: nobody comes in between.
    waiting.delete(next);
    next();
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
