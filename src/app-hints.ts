// Who wants to know of what was committed: everybody in this process, over one connection to the database.

import type { HintChannel } from './store/hints.ts';

type Handlers = Readonly<Record<HintChannel, () => void>>;

export class Hints {
  readonly #wanted: Partial<Handlers>[] = [];

  readonly handlers: Handlers = {
    willow_log: () => this.#tell('willow_log'),
    willow_erased: () => this.#tell('willow_erased'),
    willow_endpoints: () => this.#tell('willow_endpoints'),
  };

  on(handlers: Partial<Handlers>): void {
    this.#wanted.push(handlers);
  }

  #tell(channel: HintChannel): void {
    for (const handlers of this.#wanted) handlers[channel]?.();
  }
}
