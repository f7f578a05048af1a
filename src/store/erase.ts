// Erasing a user: sessions, events, what is parked for webhooks, what was asked for by key. The log then has holes, and so readers skip them;
// nobody is told of it, and a later message makes a new user, with a sequence from 1.
//
// Whoever writes about the user is waited for, and whoever has read him before and writes afterwards finds him gone, and decides anew
// (write.ts). The head of the log is not locked: nobody waits who does not write about this very user.

import type pg from 'pg';
import type { Actor } from '../core/audit.ts';
import type { UserId } from '../core/ids.ts';
import { recordAudit } from './audit.ts';
import { ask } from './database.ts';
import { transact } from './transact.ts';

/** What one statement removes in a moment. A user with more loses the oldest before, so that the lock is held no longer than for these. */
const eventsAtOnceMax = 5_000;

export async function eraseUser(pool: pg.Pool, userId: UserId, actor: Actor): Promise<void> {
  while ((await eraseOldest(pool, userId)) > 0);
  await transact(pool, async (tx) => {
    // First, as in write.ts: two who want the same rows take them in one order.
    await tx.ask({ text: 'delete from idempotency where user_id = $1', values: [userId] });
    // A user without a row cannot be locked: he gets one.
    await tx.ask({
      text: `insert into users (user_id, revision, sequence) values ($1, 1, 0)
        on conflict (user_id) do update set revision = users.revision`,
      values: [userId],
    });
    await tx.ask({ text: 'delete from events where user_id = $1', values: [userId] });
    await tx.ask({ text: 'delete from sessions where user_id = $1', values: [userId] });
    // After the events: a lane that parks one holds it until it is seen here (lanes.ts).
    await tx.ask({ text: 'delete from parked where user_id = $1', values: [userId] });
    await tx.ask({ text: 'delete from users where user_id = $1', values: [userId] });
    await recordAudit(tx, { actor, action: 'user.erased', target: `user:${userId}`, detail: {} });
    // Readers of the log forget what they keep of it.
    await tx.ask({ text: `select pg_notify('willow_erased', '')` });
  });
}

/** Of more events than are removed at once; returns how many. */
async function eraseOldest(pool: pg.Pool, userId: UserId): Promise<number> {
  const { rowCount } = await ask(pool, {
    text: `delete from events where user_id = $1 and sequence < (
      select sequence from events where user_id = $1 order by sequence limit 1 offset $2)`,
    values: [userId, eventsAtOnceMax],
  });
  return rowCount ?? 0;
}
