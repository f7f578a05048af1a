// Writers of the log, as commits write it: each takes the next positions and appends its events in one transaction, and tells that it has.

import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';

const types = ['session.started', 'user.online', 'session.ended', 'user.offline'] as const;

/** Appends so many events of these users; their sequences go on from what the log has of them. */
export async function writeEvents(pool: pg.Pool, userIds: readonly string[]): Promise<void> {
  await pool.query(
    `with head as (update log_head set position = position + $2 returning position - $2 as base),
       known as (
         insert into users as u (user_id, revision, sequence) select user_id, 1, count(*) from head, unnest($1::text[]) d(user_id)
         group by user_id order by user_id
         on conflict (user_id) do update set sequence = u.sequence + excluded.sequence, revision = u.revision + 1
         returning user_id, sequence),
       given as (
         select user_id, n, row_number() over (partition by user_id order by n desc) - 1 as back
         from unnest($1::text[]) with ordinality d(user_id, n)),
       told as (select pg_notify('willow_log', ''))
     insert into events (position, user_id, sequence, type, session_id, reason, at)
     select head.base + given.n, given.user_id, known.sequence - given.back,
       ($3::text[])[1 + (known.sequence - given.back) % 4], 'phone',
       case when (known.sequence - given.back) % 4 >= 2 then 'will' end, clock_timestamp()
     from head, told, given join known using (user_id)`,
    [userIds, userIds.length, types],
  );
}

/** Between two commits of a writer. */
const restMsMax = 15;

/** Writers that commit, and rest a moment, until they are told to stop; returns what stops them. */
export function keepWriting(
  pool: pg.Pool,
  { writers, users, perCommitMax }: { readonly writers: number; readonly users: number; readonly perCommitMax: number },
): () => Promise<void> {
  let isOver = false;
  const write = async (): Promise<void> => {
    while (!isOver) {
      const count = 1 + Math.floor(Math.random() * perCommitMax);
      const userIds = Array.from({ length: count }, () => `user-${Math.floor(Math.random() * users)}`);
      await writeEvents(pool, userIds);
      await delay(Math.random() * restMsMax);
    }
  };
  const running = Promise.all(Array.from({ length: writers }, write));
  return async () => {
    isOver = true;
    await running;
  };
}
