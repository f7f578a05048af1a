// Coalescing: so many queries are under way at once, and whoever comes meanwhile waits for the next one, together with all the others.

import DataLoader from 'dataloader';

/** Loads by id, each query for as many as asked in the meantime. Nothing is kept: who asks later is answered by a later query. */
export function loadInTurns<Id, Value>(
  read: (ids: readonly Id[]) => Promise<readonly Value[]>,
  bounds: { readonly queriesInFlightMax: number; readonly idsPerQueryMax: number },
): (id: Id) => Promise<Value> {
  const turns = new Turns(bounds.queriesInFlightMax);
  const loader = new DataLoader((ids: readonly Id[]) => turns.take(() => read(ids)), {
    cache: false,
    maxBatchSize: bounds.idsPerQueryMax,
    batchScheduleFn: (run) => turns.next(run),
  });
  return (id) => loader.load(id);
}

class Turns {
  readonly #max: number;
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  next(run: () => void): void {
    if (this.#underWay < this.#max) setImmediate(run);
    else this.#waiting.push(run);
  }

  async take<Result>(query: () => Promise<Result>): Promise<Result> {
    this.#underWay += 1;
    try {
      return await query();
    } finally {
      this.#underWay -= 1;
      const run = this.#waiting.shift();
      if (run !== undefined) setImmediate(run);
    }
  }
}
