// What has become too old goes, a little at a time: every minute, and sooner while there is more of it.

import type { Base } from './app-ingest.ts';
import { loop } from './runtime/loop.ts';

const everyMs = 60_000;
const backOff = { firstMs: 1_000, lastMs: 30_000 };
/** A loop that has not succeeded for so long is not working. */
const silenceMsMax = 3 * everyMs;

export type Trimming = {
  readonly name: string;
  /** Removes some of it, and returns whether there may be more. */
  readonly trim: () => Promise<boolean>;
  /** Until the next step while there is more. */
  readonly againMs: number;
};

export async function runTrimming(
  { logger, health }: Pick<Base, 'logger' | 'health'>,
  { name, trim, againMs }: Trimming,
  signal: AbortSignal,
): Promise<void> {
  const step = async (): Promise<number> => ((await trim()) ? againMs : everyMs);
  await loop(step, { name, signal, logger, backOff, onSuccess: health.watchLoop(name, silenceMsMax) });
}
