// One answer for all who ask the same at once, where the answer is dear and those who ask are never refused: however many they
// are, it is made by one at a time, and takes no more than its share of the process.

/**
 * Whoever asks while it is being made gets that one. Once made it is good for `restFactor` times as long as it took: 2 is a third
 * of the time at most, and 0 is always a new one.
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
      goodUntilMs = nowMs + restFactor * (nowMs - fromMs);
    };
    made.then(rest, rest);
    return made;
  };
}
