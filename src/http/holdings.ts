// What callers make this process hold has a bound, counted in bytes: when it is passed, room is made at the cost of the caller who holds most, the
// largest first, and nobody else is refused. How many are held is no matter: all of them are looked at once, for room that lasts a while.

type Held = { readonly owner: string | null; bytes: number };

type Owner<Holder> = { bytes: number; readonly held: { readonly holder: Holder; readonly bytes: number }[] };

/** Of the bound: made at once, so that the next look is far off. */
const roomShare = 1 / 16;

export class Holdings<Holder> {
  readonly #bytesMax: number;
  readonly #onCut: (holder: Holder) => void;
  readonly #held = new Map<Holder, Held>();
  #bytes = 0;

  /** One that is cut counts no more when it is told. */
  constructor(bytesMax: number, onCut: (holder: Holder) => void) {
    this.#bytesMax = bytesMax;
    this.#onCut = onCut;
  }

  bytesOf(holder: Holder): number {
    return this.#held.get(holder)?.bytes ?? 0;
  }

  /** The owner is null where nobody knows who asks, and stays who he was at first. */
  add(holder: Holder, owner: string | null, bytes: number): void {
    const held = this.#held.get(holder);
    if (held === undefined) this.#held.set(holder, { owner, bytes });
    else held.bytes += bytes;
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax) this.#makeRoom();
  }

  /** Without bytes all that there are. */
  remove(holder: Holder, bytes = Number.POSITIVE_INFINITY): void {
    const held = this.#held.get(holder);
    if (held === undefined) return;
    const gone = Math.min(bytes, held.bytes);
    this.#bytes -= gone;
    held.bytes -= gone;
    if (held.bytes === 0) this.#held.delete(holder);
  }

  #makeRoom(): void {
    const owners = this.#byOwner();
    while (this.#bytes > this.#bytesMax * (1 - roomShare)) {
      const most = owners.reduce((one, other) => (other.bytes > one.bytes ? other : one));
      const largest = most.held.pop();
      if (largest === undefined) return;
      most.bytes -= largest.bytes;
      this.remove(largest.holder);
      this.#onCut(largest.holder);
    }
  }

  /** The largest of each last. */
  #byOwner(): readonly Owner<Holder>[] {
    const owners = new Map<string | null, Owner<Holder>>();
    for (const [holder, { owner, bytes }] of this.#held) {
      const one = owners.get(owner) ?? { bytes: 0, held: [] };
      owners.set(owner, one);
      one.bytes += bytes;
      one.held.push({ holder, bytes });
    }
    for (const { held } of owners.values()) held.sort((a, b) => a.bytes - b.bytes);
    return [...owners.values()];
  }
}
