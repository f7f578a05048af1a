// The keys that callers show, as this process knows them. One that was found is believed for a second, so that a request costs no query,
// and a key that another process removes is refused a second later; one that this process removes is refused at once. What is not found
// is asked for every time, all who ask in one query. While the database is away a key that was known is believed for five more minutes:
// it can read the metrics then, which is when somebody wants them. The last uses are collected here, and written apart from any request.

import type pg from 'pg';
import { DatabaseAwayError } from './database.ts';
import { type FoundKey, findKeys, keysMax, lastUseMs, writeLastUses } from './keys.ts';
import { loadInTurns } from './turns.ts';

/** How long a key that is removed elsewhere goes on being taken. */
export const believedMsMax = 1_000;
/** The same while the database is away. */
export const believedAwayMsMax = 5 * 60_000;

export type Clocks = {
  /** Of the day: when a key was used. */
  readonly nowMs: () => number;
  /** One that nobody sets: how long ago a key was looked up. */
  readonly monotonicMs: () => number;
};

type Known = { readonly key: FoundKey; readonly askedAtMs: number; readonly untilMs: number };

export class KeyRing {
  readonly #pool: pg.Pool;
  readonly #clocks: Clocks;
  readonly #load: (id: string) => Promise<FoundKey | null>;
  readonly #known = new Map<string, Known>();
  readonly #uses = new Map<string, number>();
  #forgotten = 0;

  constructor(pool: pg.Pool, clocks: Clocks) {
    this.#pool = pool;
    this.#clocks = clocks;
    const read = async (ids: readonly string[]) => {
      const found = await findKeys(pool, [...new Set(ids)]);
      return ids.map((id) => found.get(id) ?? null);
    };
    // One query at a time, so that an older answer never comes after a newer one.
    this.#load = loadInTurns(read, { queriesInFlightMax: 1, idsPerQueryMax: 1_000 });
  }

  /** Throws DatabaseAwayError when nobody can tell. */
  find(id: string): FoundKey | null | Promise<FoundKey | null> {
    return this.known(id) ?? this.#ask(id);
  }

  /** Null where the database would have to be asked. */
  known(id: string): FoundKey | null {
    const known = this.#known.get(id);
    return known !== undefined && this.#clocks.monotonicMs() < known.untilMs ? known.key : null;
  }

  /** What is removed is not believed any more, not even where a look-up from before is on its way. */
  forget(id: string): void {
    this.#forgotten += 1;
    this.#known.delete(id);
  }

  async #ask(id: string): Promise<FoundKey | null> {
    const askedAtMs = this.#clocks.monotonicMs();
    const forgotten = this.#forgotten;
    try {
      const key = await this.#load(id);
      if (key === null) this.#known.delete(id);
      else if (forgotten === this.#forgotten) {
        this.#remember({ key, askedAtMs, untilMs: askedAtMs + believedMsMax });
      }
      return key;
    } catch (error) {
      const known = this.#known.get(id);
      const nowMs = this.#clocks.monotonicMs();
      if (!(error instanceof DatabaseAwayError) || known === undefined) throw error;
      if (nowMs >= known.askedAtMs + believedAwayMsMax) throw error;
      // Not every request waits for the database to say no.
      this.#remember({ ...known, untilMs: Math.max(known.untilMs, nowMs + believedMsMax) });
      return known.key;
    }
  }

  #remember(known: Known): void {
    this.#known.delete(known.key.id);
    this.#known.set(known.key.id, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > keysMax && oldest !== undefined) this.#known.delete(oldest);
  }

  noteUse(id: string): void {
    const nowMs = this.#clocks.nowMs();
    const lastUsedAtMs = this.#known.get(id)?.key.lastUsedAtMs ?? null;
    const isTold = lastUsedAtMs !== null && nowMs - lastUsedAtMs < lastUseMs;
    if (!isTold && (this.#uses.size < keysMax || this.#uses.has(id))) this.#uses.set(id, nowMs);
  }

  async writeUses(): Promise<void> {
    const uses = new Map(this.#uses);
    if (uses.size === 0) return;
    await writeLastUses(this.#pool, uses);
    for (const [id, atMs] of uses) if (this.#uses.get(id) === atMs) this.#uses.delete(id);
  }
}
