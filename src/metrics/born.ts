// Counters whose every series is there from the start, at 0. One that is born with its first increment is born with 1, and to Prometheus, which
// sees growth only, nothing has happened then.

import { Counter, type CounterConfiguration } from 'prom-client';

type Labels<Label extends string> = Readonly<Record<Label, string>>;

/** `series`: all that there can be; a few dozen at most. */
export function bornCounter<Label extends string>(
  config: CounterConfiguration<Label>,
  series: readonly Labels<Label>[],
): Counter<Label> {
  const counter = new Counter(config);
  for (const labels of series) counter.inc({ ...labels }, 0);
  return counter;
}

/** The members of a union; the compiler finds the one that is forgotten. */
export function membersOf<Member extends string>(all: Readonly<Record<Member, true>>): readonly Member[] {
  return Object.keys(all) as Member[];
}
