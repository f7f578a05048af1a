// A history with crashes in it: the trap is set, a part of the history is published, Willow dies in the trap, and another one starts.

import type { TestDatabase } from './database.ts';
import { expireLease, type Trap } from './kill.ts';
import { type Chance, publishAll, split, untilSettled, type WireMessage } from './storm.ts';
import type { Willow } from './willow.ts';

export type Crashing = {
  /** Set in turn. */
  readonly traps: readonly (() => Promise<Trap>)[];
  readonly rounds: number;
  readonly chance: Chance;
  readonly database: TestDatabase;
  readonly brokerUrl: string;
  readonly start: () => Promise<Willow>;
};

const linesShown = 40;

/** Returns the last Willow, which has settled everything. */
export async function crashThrough(messages: readonly WireMessage[], crashing: Crashing): Promise<Willow> {
  const { traps, rounds, chance, database, brokerUrl } = crashing;
  const kill = async (willow: Willow) => {
    await willow.child.end('SIGKILL');
  };
  const start = async () => {
    await expireLease(database);
    return crashing.start();
  };
  let willow = await start();
  try {
    // From the first time that Willow is there the broker keeps for it what is published.
    await willow.logged('link.up');
    for (const [round, part] of split(messages, rounds).entries()) {
      // The messages wait for Willow at the broker, or Willow for the messages.
      const isAway = chance.isIn(0.5);
      if (isAway) await kill(willow);
      const trap = await (traps[round % traps.length] as (typeof traps)[number])();
      await publishAll(brokerUrl, part);
      if (isAway) willow = await start();
      await trap.met();
      await kill(willow);
      await trap.prove();
      willow = await start();
    }
    await untilSettled(brokerUrl, willow);
    return willow;
  } catch (error) {
    await willow[Symbol.asyncDispose]();
    const said = willow.child.lines.slice(-linesShown).join('\n');
    throw new Error(`the last Willow of the storm said:\n${said}`, { cause: error });
  }
}
