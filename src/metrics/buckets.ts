// The bounds of histograms, and how a gauge is made that is asked when it is scraped. Bounds are the same for all that is measured in
// seconds, so that panels can be laid beside each other.

import { Gauge, type Registry } from 'prom-client';

/** In seconds: from what one statement takes to what somebody notices. */
export const secondsBuckets: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

export type Sample<Label extends string> = { readonly labels: Readonly<Record<Label, string>>; readonly value: number };

/** `samples` is asked at each scrape; what it does not name any more is gone. What it throws the scrape does not feel: then there are none. */
export function askedGauge<Label extends string>(
  registry: Registry,
  { name, help, labelNames }: { readonly name: string; readonly help: string; readonly labelNames: readonly Label[] },
  samples: () => readonly Sample<Label>[] | Promise<readonly Sample<Label>[]>,
): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      const found = await (async () => samples())().catch(() => []);
      this.reset();
      // Without labels what is reset is 0, which would be a sample.
      if (labelNames.length === 0) this.remove();
      for (const { labels, value } of found) this.set(labels, value);
    },
  });
}

/** One without labels. */
export function askedValue(registry: Registry, name: string, help: string, valueOf: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(valueOf());
    },
  });
}
