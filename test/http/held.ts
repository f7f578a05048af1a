// A port that answers when it may, and knows how often it was asked.

import { expect } from 'vitest';

export function held() {
  const mayAnswer = Promise.withResolvers<void>();
  let asked = 0;
  const listSessions = async (): Promise<[]> => {
    asked += 1;
    await mayAnswer.promise;
    return [];
  };
  const askedTimes = (count: number) => expect.poll(() => asked, { timeout: 20_000 }).toBe(count);
  return { listSessions, askedTimes, mayAnswer };
}
