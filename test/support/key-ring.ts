// What tests of the keys that a process knows stand on: keys in a real database, a clock that a test moves, and an eye on the statements.

import type pg from 'pg';
import { mintKey } from '../../src/http/api-key.ts';
import { createKey } from '../../src/store/keys.ts';
import { actor } from './endpoints.ts';

export async function createAnyKey(pool: pg.Pool): Promise<ReturnType<typeof mintKey>> {
  const minted = mintKey();
  const made = await createKey(
    pool,
    { id: minted.id, digest: minted.digest, name: 'billing', scopes: ['presence:read'], expiresAtMs: null },
    actor,
  );
  if (made.kind !== 'done') throw new Error('there are too many keys');
  return minted;
}

/** Time that stands still until the test moves it. */
export function stoppedClocks() {
  const clocks = { dayMs: Date.parse('2026-11-23T10:00:00Z'), ms: 0 };
  const pass = (ms: number) => {
    clocks.dayMs += ms;
    clocks.ms += ms;
  };
  return { pass, nowMs: () => clocks.dayMs, monotonicMs: () => clocks.ms };
}

/** The statements that go to the database, and a way to keep their answers back. */
export function watched(target: pg.Pool) {
  const asked: string[] = [];
  let answered = 0;
  let gate: Promise<void> = Promise.resolve();
  const watching = Object.create(target) as pg.Pool;
  const query = target.query.bind(target) as (statement: pg.QueryConfig) => Promise<unknown>;
  watching.query = (async (statement: pg.QueryConfig) => {
    asked.push(statement.name ?? statement.text);
    const answer = await query(statement);
    answered += 1;
    await gate;
    return answer;
  }) as typeof target.query;
  const hold = () => {
    const held = Promise.withResolvers<void>();
    gate = held.promise;
    return held.resolve;
  };
  return { pool: watching, asked, answered: () => answered, hold };
}
