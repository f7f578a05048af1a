// The lanes, shared by all processes: who runs which (leased, by the clock of the database), how far they are, and what they tried. A new
// holder gets a larger token, and what an older one writes then changes nothing.

import type pg from 'pg';
import { ask } from './database.ts';
import type { LoggedEvent } from './log.ts';

type LaneKey = { readonly endpointId: string; readonly generation: number; readonly lane: number };

export type LaneState = {
  readonly position: number;
  readonly attempts: number;
  readonly firstFailedAtMs: number | null;
  readonly nextAtMs: number;
  readonly batch: readonly number[] | null;
  readonly singlesTo: number | null;
};

export type ClaimedLane = LaneKey & {
  readonly of: number;
  readonly until: number | null;
  readonly token: number;
  readonly state: LaneState;
};

type LaneRow = {
  readonly endpoint_id: string;
  readonly generation: number;
  readonly lane: number;
  readonly of: number;
  readonly until: number | null;
  readonly token: number;
  readonly position: number;
  readonly attempts: number;
  readonly first_failed_at: number | null;
  readonly next_at: number;
  readonly batch: readonly string[] | null;
  readonly singles_to: number | null;
};

/** Processes that were not heard of for so long are gone, and get no share. As long as a lease: what they held can be taken by then. */
const workerGoneMs = 6_000;

/** Tells that this process is there, keeps its lanes, and returns those that it still has. */
export async function renewLanes(
  pool: pg.Pool,
  { holder, leaseMs }: { readonly holder: string; readonly leaseMs: number },
): Promise<readonly (LaneKey & { readonly token: number })[]> {
  const { rows } = await ask<LaneRow>(pool, {
    name: 'renew-lanes',
    text: `with here as (
        insert into workers (holder, seen_at) values ($1, clock_timestamp())
        on conflict (holder) do update set seen_at = excluded.seen_at),
      gone as (delete from workers where seen_at < clock_timestamp() - 10 * interval '${workerGoneMs} ms')
      update lanes set lease_until = clock_timestamp() + $2 * interval '1 ms' where holder = $1
      returning endpoint_id, generation, lane, token`,
    values: [holder, leaseMs],
  });
  return rows.map(({ endpoint_id, generation, lane, token }) => ({ endpointId: endpoint_id, generation, lane, token }));
}

/** A fair share of the lanes of enabled endpoints: all of them, divided by the processes that are there. */
export async function fairShare(pool: pg.Pool): Promise<number> {
  const { rows } = await ask<{ share: number }>(pool, {
    name: 'fair-share',
    text: `select ceil((select count(*) from lanes l join endpoints e on e.id = l.endpoint_id where e.status = 'enabled')::float8
      / greatest(1, (select count(*) from workers where seen_at > clock_timestamp() - interval '${workerGoneMs} ms')))::int as share`,
  });
  return rows[0]?.share ?? 0;
}

/**
 * Lanes that nobody holds, as many as wanted. Those of a new division of an endpoint wait until the old ones have come to their end: a user's
 * events are never in two lanes at once.
 */
export async function claimLanes(
  pool: pg.Pool,
  claim: { readonly holder: string; readonly leaseMs: number; readonly lanesMax: number },
): Promise<readonly ClaimedLane[]> {
  const { rows } = await ask<LaneRow>(pool, {
    name: 'claim-lanes',
    text: `update lanes l set token = l.token + 1, holder = $1, lease_until = clock_timestamp() + $2 * interval '1 ms'
      from (select f.endpoint_id, f.generation, f.lane from lanes f join endpoints e on e.id = f.endpoint_id
        where e.status = 'enabled' and (f.lease_until is null or f.lease_until < clock_timestamp())
          and not exists (select from lanes o where o.endpoint_id = f.endpoint_id and o.generation < f.generation)
        order by f.lane, f.endpoint_id limit $3 for update of f skip locked) free
      where l.endpoint_id = free.endpoint_id and l.generation = free.generation and l.lane = free.lane
      returning l.*`,
    values: [claim.holder, claim.leaseMs, claim.lanesMax],
  });
  return rows.map(laneOf);
}

function laneOf(row: LaneRow): ClaimedLane {
  return {
    endpointId: row.endpoint_id,
    generation: row.generation,
    lane: row.lane,
    of: row.of,
    until: row.until,
    token: row.token,
    state: {
      position: row.position,
      attempts: row.attempts,
      firstFailedAtMs: row.first_failed_at,
      nextAtMs: row.next_at,
      batch: row.batch?.map(Number) ?? null,
      singlesTo: row.singles_to,
    },
  };
}

/** Lets others have them at once. */
export async function releaseLanes(
  pool: pg.Pool,
  lanes: readonly (LaneKey & { readonly token: number })[],
): Promise<void> {
  await ask(pool, {
    name: 'release-lanes',
    text: `update lanes l set holder = null, lease_until = null
      from unnest($1::text[], $2::int[], $3::int[], $4::bigint[]) as r(endpoint_id, generation, lane, token)
      where l.endpoint_id = r.endpoint_id and l.generation = r.generation and l.lane = r.lane and l.token = r.token`,
    values: keyColumns(lanes),
  });
}

/** This process takes no part any more: others can have what it held at once. */
export async function leaveWorkers(pool: pg.Pool, holder: string): Promise<void> {
  await ask(pool, {
    name: 'leave-workers',
    text: `with free as (update lanes set holder = null, lease_until = null where holder = $1)
      delete from workers where holder = $1`,
    values: [holder],
  });
}

export type AttemptRow = {
  readonly webhookId: string;
  readonly first: number | null;
  readonly last: number | null;
  readonly count: number;
  readonly atMs: number;
  readonly durationMs: number;
  readonly outcome: string;
  readonly status: number | null;
  readonly detail: string | null;
  readonly body: string | null;
};

export type ParkedRow = {
  readonly event: LoggedEvent;
  readonly reason: string;
  readonly atMs: number;
  readonly attempts: number;
  readonly status: number | null;
  readonly detail: string | null;
};

export type LaneWrite = LaneKey & {
  readonly token: number;
  readonly state: LaneState;
  readonly isOver: boolean;
  readonly attempts: readonly AttemptRow[];
  readonly parked: readonly ParkedRow[];
  /** The last success and the first failure among the attempts; what they mean for the endpoint is decided in the statement. */
  readonly succeededAtMs: number | null;
  readonly failedAtMs: number | null;
  readonly disabled: string | null;
};

/**
 * All of it, in one transaction; returns those lanes that were still their holder's, and nothing is written for the others. Where nothing is
 * said but how far lanes came, the commit does not wait for the disk: a server that crashes forgets a moment of it, and that is sent again.
 */
export async function writeLanes(pool: pg.Pool, writes: readonly LaneWrite[]): Promise<readonly LaneKey[]> {
  // One order for all, so that two writers cannot wait for each other.
  const place = (a: LaneKey, b: LaneKey) => a.generation - b.generation || a.lane - b.lane;
  const lanes = writes.toSorted((a, b) => compare(a.endpointId, b.endpointId) || place(a, b));
  const { rows } = await ask<{ held: readonly number[] | null }>(pool, {
    name: 'write-lanes',
    text: writeSql,
    values: [...laneColumns(lanes), ...attemptColumns(lanes), ...parkedColumns(lanes), lanes.every(isProgress)],
  });
  return (rows[0]?.held ?? []).flatMap((n) => lanes[n - 1] ?? []);
}

const compare = (a: string, b: string): number => Number(a > b) - Number(a < b);

/** A delivery is done, and the next one is not fixed. A batch has to be on the disk before it is sent. */
function isProgress({ state, isOver, parked, disabled }: LaneWrite): boolean {
  const isFresh = state.batch === null && state.singlesTo === null && state.attempts === 0;
  return isFresh && !isOver && parked.length === 0 && disabled === null;
}

/** A success that is not newer by so much is not worth a write of the endpoint. */
const successStepMs = 1_000;

// Attempts and parked events name their lane by its number in the input. Whether it was held is looked up in a hash: a condition that is not
// the whole of an `in` stays one, where a join would compare each with each.
const writeSql = `with input as (
    select * from unnest($1::text[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::float8[], $8::float8[], $9::text[],
      $10::bigint[], $11::bool[], $12::float8[], $13::float8[], $14::text[]) with ordinality as r(endpoint_id, generation, lane, token, position,
        attempts, first_failed, next, batch, singles_to, is_over, succeeded, failed, disabled, n)),
  moved as (
    update lanes l set position = r.position, attempts = r.attempts, first_failed_at = to_timestamp(r.first_failed / 1000),
      next_at = to_timestamp(r.next / 1000), batch = r.batch::bigint[], singles_to = r.singles_to
    from input r where l.endpoint_id = r.endpoint_id and l.generation = r.generation and l.lane = r.lane and l.token = r.token
      and not r.is_over
    returning r.n::int, l.endpoint_id, r.succeeded, r.failed, r.disabled),
  over as (
    delete from lanes l using input r where l.endpoint_id = r.endpoint_id and l.generation = r.generation and l.lane = r.lane
      and l.token = r.token and r.is_over
    returning r.n::int, l.endpoint_id, r.succeeded, r.failed, r.disabled),
  held as (select * from moved union all select * from over),
  tried as (
    insert into attempts (endpoint_id, webhook_id, first_position, last_position, count, at, duration_ms, outcome, status, detail, body)
    select a.endpoint_id, a.webhook_id, a.first, a.last, a.count, to_timestamp(a.at / 1000), a.duration, a.outcome, a.status, a.detail, a.body
    from unnest($15::int[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::int[], $21::float8[], $22::int[], $23::text[],
      $24::int[], $25::text[], $26::text[])
      as a(n, endpoint_id, webhook_id, first, last, count, at, duration, outcome, status, detail, body)
    where (a.n in (select n from held)) is true),
  parked as (
    insert into parked (endpoint_id, position, event, reason, parked_at, attempts, status, detail)
    select p.endpoint_id, p.position, p.event::jsonb, p.reason, to_timestamp(p.at / 1000), p.attempts, p.status, p.detail
    from unnest($27::int[], $28::text[], $29::bigint[], $30::text[], $31::text[], $32::float8[], $33::int[], $34::int[], $35::text[])
      as p(n, endpoint_id, position, event, reason, at, attempts, status, detail)
    where (p.n in (select n from held)) is true
    on conflict (endpoint_id, position) do update set reason = excluded.reason, parked_at = excluded.parked_at,
      attempts = excluded.attempts, status = excluded.status, detail = excluded.detail, retry_at = null),
  ends as materialized (
    select endpoint_id, max(succeeded) as succeeded, min(failed) as failed, max(disabled) as disabled from held
    where succeeded is not null or failed is not null or disabled is not null group by endpoint_id order by endpoint_id),
  touched as (
    update endpoints e set last_success_at = greatest(e.last_success_at, to_timestamp(x.succeeded / 1000)),
      failing_since = case when x.succeeded is not null then null else coalesce(e.failing_since, to_timestamp(x.failed / 1000)) end,
      status = case when x.disabled is null then e.status else 'disabled' end,
      disabled_reason = case when x.disabled is null then e.disabled_reason else x.disabled end,
      revision = e.revision + (x.disabled is not null)::int
    from ends x where e.id = x.endpoint_id and (x.disabled is not null
      or case when x.succeeded is null then e.failing_since is null else e.failing_since is not null or e.last_success_at is null
        or e.last_success_at < to_timestamp((x.succeeded - ${successStepMs}) / 1000) end))
  select array_agg(n) as held, case when $36::bool then set_config('synchronous_commit', 'off', true) end from held`;

function keyColumns(lanes: readonly (LaneKey & { readonly token: number })[]): unknown[] {
  return [
    lanes.map(({ endpointId }) => endpointId),
    lanes.map(({ generation }) => generation),
    lanes.map(({ lane }) => lane),
    lanes.map(({ token }) => token),
  ];
}

function laneColumns(lanes: readonly LaneWrite[]): unknown[] {
  return [
    ...keyColumns(lanes),
    lanes.map(({ state }) => state.position),
    lanes.map(({ state }) => state.attempts),
    lanes.map(({ state }) => state.firstFailedAtMs),
    lanes.map(({ state }) => state.nextAtMs),
    lanes.map(({ state }) => (state.batch === null ? null : `{${state.batch.join(',')}}`)),
    lanes.map(({ state }) => state.singlesTo),
    lanes.map(({ isOver }) => isOver),
    lanes.map(({ succeededAtMs }) => succeededAtMs),
    lanes.map(({ failedAtMs }) => failedAtMs),
    lanes.map(({ disabled }) => disabled),
  ];
}

function attemptColumns(lanes: readonly LaneWrite[]): unknown[] {
  const rows = lanes.flatMap((lane, index) => lane.attempts.map((attempt) => ({ lane, attempt, n: index + 1 })));
  return [
    rows.map(({ n }) => n),
    rows.map(({ lane }) => lane.endpointId),
    rows.map(({ attempt }) => attempt.webhookId),
    rows.map(({ attempt }) => attempt.first),
    rows.map(({ attempt }) => attempt.last),
    rows.map(({ attempt }) => attempt.count),
    rows.map(({ attempt }) => attempt.atMs),
    rows.map(({ attempt }) => Math.round(attempt.durationMs)),
    rows.map(({ attempt }) => attempt.outcome),
    rows.map(({ attempt }) => attempt.status),
    rows.map(({ attempt }) => attempt.detail),
    rows.map(({ attempt }) => attempt.body),
  ];
}

function parkedColumns(lanes: readonly LaneWrite[]): unknown[] {
  const rows = lanes.flatMap((lane, index) => lane.parked.map((parked) => ({ lane, parked, n: index + 1 })));
  return [
    rows.map(({ n }) => n),
    rows.map(({ lane }) => lane.endpointId),
    rows.map(({ parked }) => parked.event.position),
    rows.map(({ parked }) => JSON.stringify(parked.event)),
    rows.map(({ parked }) => parked.reason),
    rows.map(({ parked }) => parked.atMs),
    rows.map(({ parked }) => parked.attempts),
    rows.map(({ parked }) => parked.status),
    rows.map(({ parked }) => parked.detail),
  ];
}
