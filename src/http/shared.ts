// One answer for all who ask the same at once, where the answer is dear and those who ask are never refused: however many they
// are, it is made by one at a time, and takes no more than its share of the process.

/** Whatever it took: nobody is told what was true longer ago. */
export const restMsMax = 1_000;

/**
 * Whoever asks while it is being made gets that one. Once made it is good for `restFactor` times as long as it took: 2 is a third
 * of the time at most, and 0 is always a new one. That it failed is told to those who waited for it, and to nobody else.
 */
export function shared<Answer>(make: () => Promise<Answer>, restFactor: number): () => Promise<Answer> {
  let answer: Promise<Answer> | null = null;
  let goodUntilMs = 0;
  return () => {
    const fromMs = performance.now();
    if (answer !== null && fromMs < goodUntilMs) return answer;
    const made = make();
    answer = made;
    goodUntilMs = Number.POSITIVE_INFINITY;
    const rest = (): void => {
      const nowMs = performance.now();
      goodUntilMs = nowMs + Math.min(restMsMax, restFactor * (nowMs - fromMs));
    };
    const forget = (): void => {
      goodUntilMs = 0;
    };
    made.then(rest, forget);
    return made;
  };
}
