// How the users of an endpoint are divided among its lanes. A new division ("generation") begins where the one before ends, and none of its
// lanes may run before all of the older are gone (lanes.ts), so that a user's events are never in two lanes at once. There are at most two:
// the one that runs, and one that waits. Who holds a lane that is changed here loses it (a larger token), and reads it anew.

import type { Tx } from './transact.ts';

/** Any number, as long as all versions agree. */
const managingLockKey = 0x6c_61_6e;

/**
 * Nobody else manages this endpoint until the transaction ends; then its lanes, in one order, and before the endpoint itself: so do those who
 * record what lanes did, and nobody waits in a circle.
 */
export async function lockLanes(tx: Tx, endpointId: string): Promise<void> {
  await tx.ask({ text: 'select pg_advisory_xact_lock($1, hashtext($2))', values: [managingLockKey, endpointId] });
  await tx.ask({
    text: 'select from lanes where endpoint_id = $1 order by generation, lane for update',
    values: [endpointId],
  });
}

export async function divide(
  tx: Tx,
  endpointId: string,
  division: { readonly generation: number; readonly lanes: number; readonly position: number },
): Promise<void> {
  await tx.ask({
    text: `insert into lanes (endpoint_id, generation, lane, "of", position)
      select $1, $2::int, n, $3::int, $4::bigint from generate_series(0, $3::int - 1) n`,
    values: [endpointId, division.generation, division.lanes, division.position],
  });
}

/**
 * What runs goes on to the end of the log as it is now, and the new division begins there. While an older one is still on its way, the one
 * that waits has not sent anything: the new one takes its place.
 */
export async function redivide(tx: Tx, endpointId: string, lanes: number): Promise<void> {
  const { rows } = await tx.ask<{ newest: number; is_waiting: boolean; start: number; head: number }>({
    text: `select max(generation) as newest, count(distinct generation) > 1 as is_waiting,
        max(position) filter (where until is null) as start, (select position from log_head) as head
      from lanes where endpoint_id = $1`,
    values: [endpointId],
  });
  const [found] = rows;
  if (found === undefined) return;
  const { newest, is_waiting: isWaiting, start, head } = found;
  if (isWaiting) {
    await tx.ask({
      text: 'delete from lanes where endpoint_id = $1 and generation = $2',
      values: [endpointId, newest],
    });
  } else {
    await tx.ask({
      // Its holder keeps the lease until it has noticed, and gives it back: nobody else sends meanwhile.
      text: 'update lanes set until = $2, token = token + 1 where endpoint_id = $1',
      values: [endpointId, head],
    });
  }
  await divide(tx, endpointId, { generation: newest + 1, lanes, position: isWaiting ? start : head });
}

/**
 * Every lane goes back to a position, or stays where it is if that is before: what is owed is never skipped. Only what the log no longer has
 * (up to `trimmed`) is. Who holds a lane loses it, for it may have sent more than it has recorded; a batch that is fixed before the position
 * stays fixed. Of a division on its way to its end, lanes that have come there come back; the one that waits for it sends nothing yet.
 */
export async function moveBack(tx: Tx, endpointId: string, after: number, trimmed: number): Promise<void> {
  await tx.ask({
    text: `insert into lanes (endpoint_id, generation, lane, "of", position, until)
      select $1, o.generation, n, o."of", o.until, o.until
      from (select distinct generation, "of", until from lanes where endpoint_id = $1 and until > $2) o, generate_series(0, o."of" - 1) n
      on conflict do nothing`,
    values: [endpointId, after],
  });
  await tx.ask({
    // At the end of the log nobody can be beyond the position.
    text: `update lanes l set token = l.token + 1, batch = case when l.position <= $2 then l.batch end,
        singles_to = case when l.position <= $2 then l.singles_to end,
        position = greatest($3, case when l.until is null and w.is_waiting then l.position else least(l.position, $2) end)
      from (select bool_or(until is not null) as is_waiting from lanes where endpoint_id = $1) w
      where l.endpoint_id = $1 and (l.position < $3 or $2 < (select position from log_head))`,
    values: [endpointId, after, trimmed],
  });
}

/** The next try is now, and the first. Those who hold the lanes are told by the revision of the endpoint. */
export async function forgetFailures(tx: Tx, endpointId: string): Promise<void> {
  await tx.ask({
    text: `with cleared as (update endpoints set failing_since = null where id = $1)
      update lanes set attempts = 0, refusals = 0, first_failed_at = null, next_at = clock_timestamp() where endpoint_id = $1`,
    values: [endpointId],
  });
}
