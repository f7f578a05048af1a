// What readiness rests on: the loops' own last success, and checks that are asked anew each time, each with a limit.

export type Check = { readonly ok: boolean; readonly [detail: string]: unknown };
export type Readiness = { readonly isReady: boolean; readonly checks: Readonly<Record<string, Check>> };

const checkMsMax = 2_000;

export class Health {
  readonly #nowMs: () => number;
  readonly #checks = new Map<string, () => Check | Promise<Check>>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  add(name: string, check: () => Check | Promise<Check>): void {
    this.#checks.set(name, check);
  }

  /** A loop reports each success to what is returned here; it is well while the last one is recent. */
  watchLoop(name: string, silenceMsMax: number): () => void {
    let succeededAtMs: number | null = null;
    this.add(name, () => {
      const silenceMs = succeededAtMs === null ? null : this.#nowMs() - succeededAtMs;
      return { ok: silenceMs !== null && silenceMs <= silenceMsMax, silenceMs };
    });
    return () => {
      succeededAtMs = this.#nowMs();
    };
  }

  async ready(): Promise<Readiness> {
    const names = [...this.#checks.keys()];
    const results = await Promise.all([...this.#checks.values()].map(withLimit));
    const checks = Object.fromEntries(names.map((name, index) => [name, results[index] ?? { ok: false }]));
    return { isReady: results.every(({ ok }) => ok), checks };
  }
}

async function withLimit(check: () => Check | Promise<Check>): Promise<Check> {
  const { promise, resolve } = Promise.withResolvers<Check>();
  const timer = setTimeout(() => resolve({ ok: false, timeoutMs: checkMsMax }), checkMsMax);
  try {
    return await Promise.race([promise, check()]);
  } catch {
    return { ok: false };
  } finally {
    clearTimeout(timer);
  }
}
