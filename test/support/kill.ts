// Killing Willow at a named step of its work, and proving afterwards that it died there.

import { createHash } from 'node:crypto';
import type { IPublishPacket } from 'mqtt-packet';
import pg from 'pg';
import type { TestDatabase } from './database.ts';
import type { Deliveries } from './deliveries.ts';
import type { MqttPacket } from './framing.ts';
import type { TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';

/** Where Willow works: its database, and the way to its broker. */
export type Ground = {
  readonly database: TestDatabase;
  readonly link: TcpProxy<MqttPacket>;
  readonly deliveries: Deliveries;
};

/** A trap for the next Willow, or for this one. */
export type Trap = {
  /** Resolves while Willow stands at the step. */
  readonly met: () => Promise<void>;
  /** For when Willow is dead: throws unless it died at the step, and takes the trap away. */
  readonly prove: () => Promise<void>;
};

/**
 * What becomes of the write that a dead Willow leaves behind in PostgreSQL, waiting for a lock: it is rolled back; it is committed late,
 * still under the lease; or it comes to run when the lease is over, and must be refused.
 */
export type Leftover = 'rolled back' | 'committed late' | 'refused';

/**
 * Before the commit: a write waits for the head of the log, which a transaction holds. It is that of messages that were delivered and not
 * acknowledged, or, where there are none, of deadlines.
 */
export async function trapBeforeCommit(
  { database, deliveries }: Ground,
  leftover: Leftover,
  cause: 'messages' | 'deadlines' = 'messages',
): Promise<Trap> {
  const holder = new pg.Client({ connectionString: database.url });
  holder.on('error', () => undefined);
  await holder.connect();
  await holder.query('begin');
  // A lock on the row lets the write come past its fence, one on the table does not even let it begin.
  await holder.query(
    leftover === 'committed late' ? 'select from log_head for update' : 'lock table log_head in exclusive mode',
  );
  const before = await lastWrite(holder);
  const isWaiting = async () => {
    const { rowCount } = await database.pool.query(`select from pg_stat_activity
      where ${ofWillow} and wait_event_type = 'Lock' and query like '%log_head%'`);
    return rowCount !== 0;
  };
  return {
    met: async () => {
      const isCause = () => deliveries.unacknowledged() > 0 === (cause === 'messages');
      await until(`${cause} whose write waits`, async () => isCause() && (await isWaiting()));
    },
    prove: async () => {
      if (leftover === 'rolled back')
        await database.pool.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${ofWillow}`);
      if (leftover === 'refused') await expireLease(database);
      if (leftover === 'rolled back') await untilGone(database);
      await holder.query('rollback');
      await untilGone(database);
      const hasWritten = (await lastWrite(holder)) !== before;
      await holder.end();
      if (hasWritten !== (leftover === 'committed late'))
        throw new Error(`the write was to be ${leftover}, and was ${hasWritten ? '' : 'not '}committed`);
    },
  };
}

/** After the commit and before the PUBACK: the proxy lets a few PUBACKs through and swallows the others. */
export async function trapBeforePuback({ database, link, deliveries }: Ground, pubacksPassed: number): Promise<Trap> {
  const acknowledgedBefore = deliveries.acknowledged.length;
  let pubacks = 0;
  link.judge(({ from, packet }) => {
    if (from === 'client' && packet.cmd === 'puback') pubacks += 1;
    return from === 'client' && packet.cmd === 'puback' && pubacks > pubacksPassed ? 'swallow' : 'pass';
  });
  return {
    met: async () => {
      await until('a PUBACK that is swallowed', () => pubacks > pubacksPassed);
    },
    prove: async () => {
      link.judge(null);
      await untilGone(database);
      for (const publish of deliveries.acknowledged.slice(acknowledgedBefore)) {
        if (!(await isCommitted(database, publish)))
          throw new Error(`acknowledged before its commit: ${publish.topic} ${String(publish.payload)}`);
      }
    },
  };
}

/** In the middle of a grace that has a second to go at least. */
export async function trapDuringGrace({ database }: Ground): Promise<Trap> {
  const lost = async (leastMs: number) => {
    const { rowCount } = await database.pool.query(
      `select from sessions where status = 'lost' and deadline_at > clock_timestamp() + $1 * interval '1 ms'`,
      [leastMs],
    );
    return rowCount ?? 0;
  };
  return {
    met: async () => {
      await until('a session that was lost a moment ago', async () => (await lost(1_000)) > 0);
    },
    prove: async () => {
      await untilGone(database);
      if ((await lost(0)) === 0) throw new Error('no grace was running any more');
    },
  };
}

/** What the lease of a process that is dead comes to by itself, seconds later. */
export async function expireLease({ pool }: Pick<TestDatabase, 'pool'>): Promise<void> {
  await pool.query('update links set lease_until = clock_timestamp(), connected_since = null');
}

const ofWillow = `datname = current_database() and application_name = 'willow'`;

/** PostgreSQL finds out about a client that is dead when it reads from it, or writes to it. */
async function untilGone({ pool }: TestDatabase): Promise<void> {
  await until('the end of what the dead left behind in PostgreSQL', async () => {
    const { rowCount } = await pool.query(`select from pg_stat_activity where ${ofWillow}`);
    return rowCount === 0;
  });
}

/** The transaction of the last write to the log, whether it had events or not. */
async function lastWrite(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ xmin: string }>('select xmin::text from log_head');
  return rows[0]?.xmin ?? '';
}

/** Known by its epoch, or, where it has none, by its receipt. */
async function isCommitted({ pool }: TestDatabase, { topic, payload, messageId }: IPublishPacket): Promise<boolean> {
  const text = String(payload);
  const { userId, sessionId, epoch } = (text.startsWith('{"') ? JSON.parse(text) : {}) as Record<string, unknown>;
  const digest = createHash('sha256').update(`${topic}\0${text}`).digest().subarray(0, 16);
  const { rowCount } =
    epoch === undefined
      ? await pool.query('select from receipts where packet_id = $1 and digest = $2', [messageId, digest])
      : await pool.query('select from sessions where user_id = $1 and session_id = $2 and epoch >= $3', [
          userId,
          sessionId,
          epoch,
        ]);
  return rowCount === 1;
}
