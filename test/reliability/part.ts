// What `npm run reliability` is made of: parts, each with a name, at a size that takes minutes to hours. A part brings its own servers,
// prints what it measured, and says what it found wrong.

export type Part = {
  readonly title: string;
  /** `isQuick`: one short round, to see that it works; its figures mean nothing. */
  readonly run: (isQuick: boolean) => Promise<Outcome>;
};

export type Outcome = {
  /** Markdown. */
  readonly report: string;
  /** A sentence for each thing that must not be. */
  readonly harm: readonly string[];
};
