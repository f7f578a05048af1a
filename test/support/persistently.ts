// A step that is decided anew, as who settles messages does, while others come in between.

import { ConflictError } from '../../src/store/database.ts';

export async function persistently(step: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await step();
      return;
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
    }
  }
}
