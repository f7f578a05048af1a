// What lanes have done: how far they are, what they tried, and what was parked. A new holder of a lane has a larger token (lane-leases.ts),
// and what an older one writes then changes nothing.

import type pg from 'pg';
import { ask } from './database.ts';
import type { LoggedEvent } from './log.ts';

export type LaneKey = { readonly endpointId: string; readonly generation: number; readonly lane: number };

export type LaneState = {
  readonly position: number;
  readonly attempts: number;
  readonly refusals: number;
  readonly firstFailedAtMs: number | null;
  readonly nextAtMs: number;
  readonly batch: readonly number[] | null;
  readonly singlesTo: number | null;
};

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
export async function writeLanes(
  pool: pg.Pool,
  writes: readonly LaneWrite[],
): Promise<readonly (LaneKey & { readonly token: number })[]> {
  // One order for all, so that two writers cannot wait for each other.
  const place = (a: LaneKey, b: LaneKey) => a.generation - b.generation || a.lane - b.lane;
  const lanes = writes.toSorted((a, b) => compare(a.endpointId, b.endpointId) || place(a, b));
  const { rows } = await ask<{ held: readonly number[] | null }>(pool, {
    name: 'write-lanes',
    text: writeSql,
    values: [
      ...laneColumns(lanes),
      ...attemptColumns(lanes),
      ...parkedColumns(lanes),
      lanes.every(isProgress),
      lanes.map(({ state }) => state.refusals),
    ],
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

// An event whose user is erased meanwhile is not parked: it is held until this is committed, or is gone already.
// Attempts and parked events name their lane by its number in the input. Whether it was held is looked up in a hash: a condition that is not
// the whole of an `in` stays one, where a join would compare each with each.
const writeSql = `with input as (
    select * from unnest($1::text[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::float8[], $8::float8[], $9::text[],
      $10::bigint[], $11::bool[], $12::float8[], $13::float8[], $14::text[], $37::int[]) with ordinality as r(endpoint_id, generation, lane, token, position,
        attempts, first_failed, next, batch, singles_to, is_over, succeeded, failed, disabled, refusals, n)),
  moved as (
    update lanes l set position = r.position, attempts = r.attempts, refusals = r.refusals, first_failed_at = to_timestamp(r.first_failed / 1000),
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
  still as materialized (select e.position from events e where e.position = any($29::bigint[]) for key share),
  parked as (
    insert into parked (endpoint_id, position, event, reason, parked_at, attempts, status, detail)
    select p.endpoint_id, p.position, p.event::jsonb, p.reason, to_timestamp(p.at / 1000), p.attempts, p.status, p.detail
    from unnest($27::int[], $28::text[], $29::bigint[], $30::text[], $31::text[], $32::float8[], $33::int[], $34::int[], $35::text[])
      as p(n, endpoint_id, position, event, reason, at, attempts, status, detail)
    where (p.n in (select n from held)) is true and (p.position in (select position from still)) is true
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

export function keyColumns(lanes: readonly (LaneKey & { readonly token: number })[]): unknown[] {
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
