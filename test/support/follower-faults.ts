// What is done to a follower and to the Willow that it follows. Each fault waits until it has struck, and is counted then.

import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { giveUpEvents, sweepGivenUp } from '../../src/store/retention.ts';
import type { Follower } from './follower.ts';
import type { openLogKeeper } from './follower-oracle.ts';
import type { Framing } from './framing.ts';
import { expireLease } from './kill.ts';
import type { Chance } from './storm.ts';
import type { TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';
import type { Willow } from './willow.ts';

export const faultKinds = [
  'cut in the snapshot',
  'cut in the stream',
  'follower killed',
  'willow killed',
  'silence',
  'log trimmed',
  'database replaced',
] as const;

export type Faults = Record<(typeof faultKinds)[number], number>;

/** A follower, and the Willow that it follows by way of the proxy. */
export type Side = {
  readonly follower: Follower;
  readonly proxy: TcpProxy<string>;
  readonly start: () => Promise<Willow>;
  /** Everybody, or only those who are online when it begins. */
  readonly followsAll: boolean;
  /** Whether this Willow is the one that hears the broker. */
  readonly hears: boolean;
  willow: Willow;
};

export type Scene = {
  /** With the types that Willow reads by. */
  readonly pool: pg.Pool;
  readonly chance: Chance;
  readonly keeper: ReturnType<typeof openLogKeeper>;
  readonly faults: Faults;
};

/** As text, each chunk in two halves: so that a cut between them is one in the middle of an event. */
export const texts: Framing<string> = () => (_, bytes) => {
  const middle = Math.floor(bytes.length / 2);
  return [bytes.subarray(0, middle), bytes.subarray(middle)]
    .filter(({ length }) => length > 0)
    .map((half) => ({ bytes: half, packet: half.toString('latin1') }));
};

const lifeMsMax = 200;
/** More than any run writes. */
const positionsAhead = 1_000_000;

/** Cuts the connection before the answer to the second page of a snapshot; the result waits until it has. */
export function strikeAtPage({ proxy }: Side, faults: Faults): () => Promise<void> {
  let isStruck = false;
  proxy.judge(({ from, packet }) => {
    if (isStruck || from === 'server' || !/^GET \/presence\?\S*&cursor=/.test(packet)) return 'pass';
    isStruck = true;
    faults['cut in the snapshot'] += 1;
    return 'cut';
  });
  return async () => {
    await until('a snapshot that is cut off', () => isStruck);
    proxy.judge(null);
  };
}

type Strike = (side: Side, scene: Scene) => Promise<void>;

export const strikes: Record<Exclude<keyof Faults, 'cut in the snapshot'>, Strike> = {
  'cut in the stream': async ({ proxy }, { faults, chance }) => {
    let eventsLeft = chance.whole(20);
    let cutting: number | null = null;
    let isStruck = false;
    proxy.judge(({ from, packet, connection }) => {
      if (isStruck || from === 'client') return 'pass';
      if (cutting === connection) {
        isStruck = true;
        return 'cut';
      }
      // This half is let through, the next one is not.
      if (packet.includes('data: {"position"') && --eventsLeft < 0) cutting = connection;
      return 'pass';
    });
    await until('a stream that is cut off', () => isStruck);
    proxy.judge(null);
    faults['cut in the stream'] += 1;
  },
  'follower killed': async ({ follower }, { faults, chance }) => {
    await follower.kill();
    faults['follower killed'] += 1;
    await delay(chance.whole(lifeMsMax));
    await follower.start();
    // Some die again before they have come far.
    if (!chance.isIn(0.3)) return;
    await delay(lifeMsMax + chance.whole(2 * lifeMsMax));
    await follower.kill();
    faults['follower killed'] += 1;
    await follower.start();
  },
  'willow killed': async (side, { faults, pool }) => {
    await side.willow.child.end('SIGKILL');
    faults['willow killed'] += 1;
    if (side.hears) await expireLease({ pool });
    side.willow = await side.start();
    side.proxy.pointTo(Number(new URL(side.willow.http).port));
    if (side.hears) await side.willow.logged('link.up');
  },
  silence: async ({ follower, proxy }, { faults }) => {
    // Of the stream, or of a page of a snapshot.
    const isSilence = (line: string) => /nothing heard|due to timeout/.test(line);
    const before = follower.lines().filter(isSilence).length;
    proxy.hold();
    await until('a follower that hears nothing', () => follower.lines().filter(isSilence).length > before);
    proxy.release();
    faults.silence += 1;
  },
  'log trimmed': async (side, { faults, pool, keeper }) => {
    const { follower } = side;
    await killWithCopy(follower);
    const position = follower.truePosition() ?? 0;
    await until('a log that begins behind the copy', async () => {
      await keeper.look();
      // What is not older than the newest event that the keeper has stays: nothing goes that it has not seen.
      return (await trimBefore(pool, Date.parse(keeper.log.at(-1)?.at ?? ''))) > position;
    });
    await rebuilds(side, faults);
    faults['log trimmed'] += 1;
  },
  'database replaced': async (side, { faults }) => {
    await killWithCopy(side.follower);
    side.follower.moveAhead(positionsAhead);
    await rebuilds(side, faults);
    faults['database replaced'] += 1;
  },
};

/** As retention does it; returns up to where events are gone. */
async function trimBefore(pool: pg.Pool, beforeMs: number): Promise<number> {
  while ((await giveUpEvents(pool, beforeMs)).isMore);
  while ((await sweepGivenUp(pool)).isMore);
  const { rows } = await pool.query<{ trimmed: number }>('select trimmed from log_head');
  return rows[0]?.trimmed ?? 0;
}

async function killWithCopy(follower: Follower): Promise<void> {
  await until('a copy to lose', async () => {
    if (follower.truePosition() === null) return false;
    await follower.kill();
    if (follower.truePosition() !== null) return true;
    await follower.start();
    return false;
  });
}

/** Starts a follower that must give up its copy; its new snapshot is cut off in the middle. */
async function rebuilds(side: Side, faults: Faults): Promise<void> {
  const before = side.follower.said('copy.rebuilt');
  const struck = strikeAtPage(side, faults);
  await side.follower.start();
  await until('a copy that is rebuilt', () => side.follower.said('copy.rebuilt') > before);
  await struck();
}
