// Dear reads have their turns: fairly by caller, the past without holding up what is not of the past, and nobody who is gone.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import type { LogQuestion } from '../../src/http/routes/log.ts';
import { type TurnLimits, Turns, waitingBytes } from '../../src/http/turns.ts';
import { until } from '../support/until.ts';
import { knowing, minted } from './keys.ts';
import { expectProblem, type Served, serve } from './serve.ts';

const setting = 'willow-key-0123456789abcdef';
const nothing = { head: 1_000, trimmed: 0, upTo: 1_000, events: [] };
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const hang = '/events?after=999';

/** Reads that are not answered before they are let go, each known by what was asked: a number. */
function heldReads() {
  const begun: number[] = [];
  const held = new Map<number, () => void>();
  const hold = async (number: number): Promise<void> => {
    begun.push(number);
    await new Promise<void>((resolve) => void held.set(number, resolve));
  };
  return {
    begun,
    letGo: (...numbers: readonly number[]) => {
      for (const number of numbers) {
        held.get(number)?.();
        held.delete(number);
      }
    },
    events: async ({ after }: LogQuestion) => {
      await hold(after ?? 0);
      return nothing;
    },
    presenceAsOf: async (_userId: string, atMs: number) => {
      await hold(atMs);
      return { kind: 'gone' as const, fromMs: atMs };
    },
  };
}

function openTurns(limits: Partial<TurnLimits> = {}) {
  const refused: string[] = [];
  const turns = new Turns(
    { underWayMax: 3, pastMax: 2, waitMsMax: 60_000, waitingBytesMax: 64 * 1024 * 1024, ...limits },
    () => refused.push('no-turn'),
  );
  return { turns, refused };
}

const pastAt = (atMs: number) => `/users/ann/presence?at=${new Date(atMs).toISOString()}`;
const waitingWhen = (turns: Turns, count: number) => until(`${count} waiting`, () => turns.waiting === count);

/** Their order is that in which they are asked: each is under way, or waits, before the next one is. */
async function askInOrder(served: Served, turns: Turns, asks: readonly { path: string; key: string }[]) {
  const answers = [];
  for (const { path, key } of asks) {
    const before = turns.waiting;
    answers.push(served.call({ path, headers: bearer(key) }));
    await waitingWhen(turns, before + 1);
  }
  return answers;
}

test('whoever asks for one thing has it after one of each other caller, however much they ask for; each has his own in order', async () => {
  const [one, two] = [minted(), minted()];
  const { turns } = openTurns({ underWayMax: 1 });
  const reads = heldReads();
  await using served = await serve({ ...reads, turns, apiKey: setting, keys: knowing(one, two) });
  const all = [served.call({ path: '/events?after=1', headers: bearer(setting) })];
  await until('one that is under way', () => reads.begun.length === 1);
  const many = Array.from({ length: 20 }, (_, n) => ({ path: `/events?after=${n + 2}`, key: setting }));
  all.push(...(await askInOrder(served, turns, many)));
  const few = [101, 102].map((after) => ({ path: `/events?after=${after}`, key: one.key }));
  all.push(...(await askInOrder(served, turns, few)));
  all.push(...(await askInOrder(served, turns, [{ path: '/events?after=201', key: two.key }])));
  for (let count = 1; count <= all.length; count += 1) {
    await until('the next one', () => reads.begun.length === count);
    reads.letGo(...reads.begun);
  }
  for (const { status } of await Promise.all(all)) expect(status).toBe(200);
  expect(reads.begun.slice(0, 7)).toEqual([1, 2, 101, 201, 3, 102, 4]);
  expect(reads.begun.slice(6)).toEqual(Array.from({ length: 18 }, (_, n) => n + 4));
});

test('the past has two places of three, and whatever of it waits holds up nothing else', async () => {
  const { turns } = openTurns();
  const reads = heldReads();
  await using served = await serve({ ...reads, turns, apiKey: setting });
  const call = (path: string) => served.call({ path, headers: bearer(setting) });
  const all = [1, 2].map((atMs) => call(pastAt(atMs)));
  await until('two of the past under way', () => reads.begun.length === 2);
  all.push(
    ...(await askInOrder(
      served,
      turns,
      [3, 4, 5].map((atMs) => ({ path: pastAt(atMs), key: setting })),
    )),
  );
  // There is a place for what is not of the past, and of that the next one goes ahead too.
  all.push(call('/events?after=11'));
  await until('one of another kind', () => reads.begun.includes(11));
  all.push(...(await askInOrder(served, turns, [{ path: '/events?after=12', key: setting }])));
  expect(reads.begun).toHaveLength(3);
  reads.letGo(11);
  await until('the next one of its kind', () => reads.begun.includes(12));
  reads.letGo(12);
  expect(reads.begun.toSorted((a, b) => a - b)).toEqual([1, 2, 11, 12]);
  // Nor is it passed over: what waited first is next where there is a place for the past.
  reads.letGo(1);
  await until('the next one of the past', () => reads.begun.includes(3));
  reads.letGo(2);
  await until('and the one after it', () => reads.begun.includes(4));
  reads.letGo(3, 4);
  await until('the last one', () => reads.begun.includes(5));
  reads.letGo(5);
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual([410, 410, 410, 410, 410, 200, 200]);
  expect(turns.waiting).toBe(0);
});

test('whoever hangs up waits no longer, and is not read for', async () => {
  const { turns, refused } = openTurns({ underWayMax: 1 });
  const reads = heldReads();
  await using served = await serve({ ...reads, turns });
  const first = served.call({ path: '/events?after=1' });
  await until('one that is under way', () => reads.begun.length === 1);
  const ask = `GET ${hang} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
  const sockets = await Promise.all(Array.from({ length: 20 }, () => opened(served.port)));
  // Two on each connection: the second one waits behind an answer that never comes.
  for (const socket of sockets) socket.write(ask + ask);
  await waitingWhen(turns, 40);
  const late = served.call({ path: '/events?after=2' });
  await waitingWhen(turns, 41);
  for (const socket of sockets) socket.destroy();
  await waitingWhen(turns, 1);
  reads.letGo(1);
  await until('the next one', () => reads.begun.length === 2);
  reads.letGo(2);
  expect([(await first).status, (await late).status]).toEqual([200, 200]);
  expect(reads.begun).toEqual([1, 2]);
  expect(refused).toEqual([]);
  expect(served.log.filter(({ event }) => event === 'request.failed')).toEqual([]);
});

async function opened(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

test('whoever waits for too long is told that it is too much; it is counted, not logged', async () => {
  const late = openTurns({ underWayMax: 1, waitMsMax: 20 });
  const reads = heldReads();
  {
    await using served = await serve({ ...reads, turns: late.turns });
    const first = served.call({ path: '/events?after=1' });
    await until('one that is under way', () => reads.begun.length === 1);
    const problem = expectProblem(await served.call({ path: hang }), 503, 'overloaded');
    expect(problem.detail).toMatch(/^too many reads of this kind are waiting: .* 20 ms$/u);
    expect(late.refused).toEqual(['no-turn']);
    expect(late.turns.waiting).toBe(0);
    expect(served.log.filter(({ event }) => event === 'request.failed')).toEqual([]);
    reads.letGo(1);
    expect((await first).status).toBe(200);
    expect(reads.begun).toEqual([1]);
  }
});

test('beyond what may wait in all, whoever has most waiting is refused, the newest first; a query weighs what it names', async () => {
  const other = minted();
  const { turns, refused } = openTurns({ underWayMax: 1, waitingBytesMax: 20 * waitingBytes });
  const reads = heldReads();
  await using served = await serve({ ...reads, turns, apiKey: setting, keys: knowing(other) });
  const [mine, his] = [bearer(setting), bearer(other.key)];
  const all = [served.call({ path: '/events?after=1', headers: mine })];
  await until('one that is under way', () => reads.begun.length === 1);
  const many = Array.from({ length: 20 }, (_, n) => ({ path: `/events?after=${n + 2}`, key: setting }));
  all.push(...(await askInOrder(served, turns, many)));
  expect(refused).toEqual([]);
  // Room for a sixteenth of it is made at once: three of twenty-one.
  const few = served.call({ path: '/events?after=101', headers: his });
  for (const answer of all.slice(-3)) {
    const problem = expectProblem(await answer, 503, 'overloaded');
    expect(problem.detail).toBe('too many reads of this kind are waiting, and most of them are of this caller');
  }
  expect([turns.waiting, refused.length]).toEqual([18, 3]);

  const ids = Array.from({ length: 1_000 }, (_, n) => String(n).padStart(256, '-'));
  const query = { method: 'POST', path: '/presence/query', body: JSON.stringify({ userIds: ids }) };
  const large = served.call({ ...query, headers: { ...mine, 'content-type': 'application/json' } });
  expectProblem(await large, 503, 'overloaded');
  for (let count = 1; count <= 19; count += 1) {
    await until('the next one', () => reads.begun.length === count);
    reads.letGo(...reads.begun);
  }
  for (const answer of [few, ...all.slice(0, -3)]) expect((await answer).status).toBe(200);
  expect([turns.waiting, reads.begun.length]).toEqual([0, 19]);
});

test('no more are under way than may be, and whatever fails hands its turn on', async () => {
  const { turns } = openTurns();
  let [underWay, most, calls] = [0, 0, 0];
  const allAsked = Promise.withResolvers<void>();
  const events = async () => {
    underWay += 1;
    most = Math.max(most, underWay);
    await allAsked.promise;
    await new Promise(setImmediate);
    underWay -= 1;
    calls += 1;
    if (calls % 3 === 0) throw new Error('it failed');
    return nothing;
  };
  await using served = await serve({ events, turns });
  const asked = Array.from({ length: 60 }, () => served.call({ path: '/events' }));
  await waitingWhen(turns, 57);
  allAsked.resolve();
  const answers = await Promise.all(asked);
  expect(answers.filter(({ status }) => status === 500)).toHaveLength(20);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(40);
  expect([most, underWay, turns.waiting]).toEqual([3, 0, 0]);
});
