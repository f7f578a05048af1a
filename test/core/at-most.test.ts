import { expect, test } from 'vitest';
import { atMost } from '../../src/runtime/at-most.ts';

test('whoever waits has his turn in order, and no more are under way than may be, whatever fails', async () => {
  const inTurn = atMost(2);
  const begun: number[] = [];
  let [underWay, most] = [0, 0];
  const reads = Array.from({ length: 50 }, (_, n) =>
    inTurn(async () => {
      begun.push(n);
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise(setImmediate);
      underWay -= 1;
      if (n % 3 === 0) throw new Error('it failed');
    }),
  );
  const ends = await Promise.allSettled(reads);
  expect(begun).toEqual(Array.from({ length: 50 }, (_, n) => n));
  expect([most, underWay]).toEqual([2, 0]);
  expect(ends.filter(({ status }) => status === 'rejected')).toHaveLength(17);
});
