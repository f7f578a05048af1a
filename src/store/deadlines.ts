// What is due, read from the partial index on deadlines alone: a million sessions that are not due cost nothing.

import type pg from 'pg';
import type { UserId } from '../core/ids.ts';
import { ask } from './database.ts';

export async function findDueUsers(pool: pg.Pool, untilMs: number, usersMax: number): Promise<readonly UserId[]> {
  const { rows } = await ask<{ user_id: UserId }>(pool, {
    name: 'find-due',
    text: `select distinct user_id from (
        select user_id from sessions where deadline_at < to_timestamp($1::float8 / 1000) order by deadline_at limit $2) due`,
    values: [untilMs, usersMax],
  });
  return rows.map(({ user_id }) => user_id);
}
