// True histories of connections, and what a broker may make of them: messages repeated, reordered, dropped, with time between them.

import fc from 'fast-check';

export type Said = {
  readonly kind: 'login' | 'will' | 'logout';
  readonly session: string;
  readonly epoch: number;
};
/** `gapMs` passes before the message is decided; without `mayLapse` the link has just come up. */
export type Delivery = Said & { readonly gapMs: number; readonly mayLapse: boolean };

/** One session's connections: each has a birth and, but for one that may still be up, a will or a goodbye. */
type Life = {
  readonly leaves: readonly ('will' | 'logout')[];
  readonly isUp: boolean;
  readonly steps: readonly number[];
};

const life: fc.Arbitrary<Life> = fc.record({
  leaves: fc.array(fc.constantFrom('will', 'will', 'logout'), { maxLength: 3 }),
  isUp: fc.boolean(),
  steps: fc.array(fc.constantFrom(1, 1, 2, 30_000), { minLength: 4, maxLength: 4 }),
});

function tellLife(session: string, { leaves, isUp, steps }: Life): Said[] {
  let epoch = 0;
  const said: Said[] = [];
  for (const [index, kind] of [...leaves, ...(isUp ? [null] : [])].entries()) {
    epoch += steps[index] ?? 1;
    said.push({ kind: 'login', session, epoch });
    if (kind !== null) said.push({ kind, session, epoch });
  }
  return said;
}

/** What truly happened to one to three sessions of a user. */
export const history: fc.Arbitrary<readonly Said[]> = fc
  .array(life, { minLength: 1, maxLength: 3 })
  .map((lives) => lives.flatMap((one, index) => tellLife(['phone', 'tablet', 'watch'][index] as string, one)));

/** Times around the grace of 5,000 ms, the takeover window of 1,000 and the repeat window of 10,000. */
const gapMs = fc.constantFrom(0, 0, 0, 1, 999, 2_500, 4_999, 5_000, 5_001, 10_001, 3_600_000);

/** Any order; each message at least `copiesMin` times, at most three times. */
export function delivered(said: readonly Said[], copiesMin: 0 | 1): fc.Arbitrary<readonly Delivery[]> {
  const copies = said.map(() => fc.integer({ min: copiesMin, max: copiesMin + 2 }));
  const ways = fc.tuple(...said.flatMap(() => [0, 1, 2].map(() => way)));
  return fc.tuple(fc.tuple(...copies), ways).map(([counts, paths]) => {
    const sent = said.flatMap((one, index) =>
      Array.from({ length: counts[index] ?? 0 }, (_, copy) => ({ ...one, ...(paths[index * 3 + copy] as Way) })),
    );
    return sent
      .sort((a, b) => a.place - b.place)
      .map(({ kind, session, epoch, gapMs: ms, mayLapse }) => ({ kind, session, epoch, gapMs: ms, mayLapse }));
  });
}

type Way = { readonly place: number; readonly gapMs: number; readonly mayLapse: boolean };
const way: fc.Arbitrary<Way> = fc.record({
  place: fc.nat({ max: 1_000 }),
  gapMs,
  mayLapse: fc.boolean(),
});

/** What is true at the end, by the messages alone: the newest connection of a session is up unless it was heard to leave. */
export function truth(said: readonly Said[]): ReadonlyMap<string, { readonly epoch: number; readonly isUp: boolean }> {
  const newest = new Map<string, { epoch: number; isUp: boolean }>();
  for (const { kind, session, epoch } of said) {
    const known = newest.get(session);
    const isUp = kind === 'login';
    if (known === undefined || epoch > known.epoch) newest.set(session, { epoch, isUp });
    else if (epoch === known.epoch) known.isUp &&= isUp;
  }
  return newest;
}
