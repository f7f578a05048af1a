// Storms: many users who come and go at random, in an order that is known. The seed is printed, and WILLOW_STORM_SEED runs it again;
// WILLOW_STORM_ROUNDS makes a storm longer or shorter.

import { connectAsync } from 'mqtt';
import type { ModelMessage } from './model.ts';
import type { Willow } from './willow.ts';

/** A message with an epoch, as the oracle understands it. */
export type Said = Omit<ModelMessage, 'atMs'>;

export type WireMessage = { readonly topic: string; readonly payload: string };

export type Chance = {
  /** From 0 to `below` − 1. */
  readonly whole: (below: number) => number;
  readonly isIn: (share: number) => boolean;
  readonly pick: <T>(from: readonly T[]) => T;
};

export function chanceOf(name: string): Chance {
  return chanceFrom(seedOf(name));
}

function seedOf(name: string): number {
  const seed = Number(process.env['WILLOW_STORM_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`storm "${name}": WILLOW_STORM_SEED=${seed}\n`);
  return seed;
}

function chanceFrom(seed: number): Chance {
  let state = seed;
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (below: number) => Math.floor(next() * below);
  return { whole, isIn: (share) => next() < share, pick: (from) => from[whole(from.length)] as (typeof from)[number] };
}

export function stormRounds(usually: number): number {
  return Number(process.env['WILLOW_STORM_ROUNDS'] ?? usually);
}

/** Independent of the others, each with the seed that WILLOW_STORM_SEED begins with to run it first. */
export function chancesOf(name: string, rounds: number): readonly { readonly seed: number; readonly chance: Chance }[] {
  const first = seedOf(name);
  return Array.from({ length: rounds }, (_, round) => ({ seed: first + round, chance: chanceFrom(first + round) }));
}

/** What users say with epochs: births, repeated and left out; wills, late and doubled; goodbyes; takeovers that are not heard of. */
export function inventHistory(
  chance: Chance,
  { users, sessionsMax }: { readonly users: number; readonly sessionsMax: number },
): Said[] {
  const lives = Array.from({ length: users }, (_, index) => `user-${index}`).flatMap((userId) =>
    Array.from({ length: 1 + chance.whole(sessionsMax) }, (_, session) =>
      inventLife(chance, userId, `device-${session}`),
    ),
  );
  return interleave(chance, lives);
}

const ways = ['will', 'will', 'will', 'logout', 'logout, then will', 'takeover', 'takeover, late will'] as const;

function inventLife(chance: Chance, userId: string, sessionId: string): Said[] {
  const said: Said[] = [];
  const say = (kind: Said['kind'], epoch: number) => {
    said.push({ kind, userId, sessionId, epoch });
    if (chance.isIn(0.1)) said.push({ kind, userId, sessionId, epoch });
  };
  let epoch = 0;
  let owed: number | null = null;
  for (let connections = 2 + chance.whole(3); connections > 0; connections -= 1) {
    epoch += 1 + chance.whole(3);
    if (chance.isIn(0.9)) say('login', epoch);
    if (owed !== null) say('will', owed);
    owed = null;
    const way = chance.pick(ways);
    if (way === 'takeover, late will') owed = epoch;
    if (way.startsWith('logout')) say('logout', epoch);
    if (way.endsWith('will') && owed === null) say('will', epoch);
  }
  return said;
}

/** One order for all, in which each list keeps its own. */
export function interleave<T>(chance: Chance, lists: readonly (readonly T[])[]): T[] {
  const waiting = lists.filter(({ length }) => length > 0).map((list) => [...list].reverse());
  const merged: T[] = [];
  while (waiting.length > 0) {
    const index = chance.whole(waiting.length);
    const list = waiting[index] ?? [];
    merged.push(list.pop() as T);
    if (list.length === 0) waiting.splice(index, 1);
  }
  return merged;
}

export function split<T>(list: readonly T[], parts: number): (readonly T[])[] {
  return Array.from({ length: parts }, (_, part) =>
    list.slice(Math.floor((part * list.length) / parts), Math.floor(((part + 1) * list.length) / parts)),
  );
}

/** The identity is in the payload, and at random in the topic too. */
export function wireOf(chance: Chance, { kind, ...identity }: Said): WireMessage {
  const root = kind === 'login' ? '/login' : '/logout';
  const { userId, sessionId } = identity;
  const topic = chance.pick([root, `${root}/${userId}`, `${root}/${userId}/${sessionId}`]);
  return { topic, payload: JSON.stringify(kind === 'logout' ? { ...identity, reason: 'logout' } : identity) };
}

/** In this order, by one client; resolves when the broker has taken responsibility for all of them. */
export async function publishAll(url: string, messages: readonly WireMessage[]): Promise<void> {
  const client = await connectAsync(url, { reconnectPeriod: 0 });
  await Promise.all(messages.map(async ({ topic, payload }) => client.publishAsync(topic, payload, { qos: 1 })));
  await client.endAsync();
}

/** Whose birth is published after all else: once he is online, everything before it is settled. */
export const lastUser = 'the last';

export async function untilSettled(url: string, willow: Willow): Promise<void> {
  await publishAll(url, [{ topic: `/login/${lastUser}`, payload: '{"epoch":1}' }]);
  await willow.presenceWhen(lastUser, ({ status }) => status === 'online');
}
