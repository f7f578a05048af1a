// Writes what a batch decided: users, sessions, events, receipts and the audit trail in one statement, which is its own transaction.
// So nothing of ours holds a lock while it thinks, and a process that is stopped in the middle holds up nobody.
//
// The order inside: the fence (is the ingest lease still ours?), or what was asked for once (is it not done yet?); then the head of the log, whose row lock is held until COMMIT: positions
// become visible in the order in which they were drawn. Users come in the order of their ids. A user who changed since he was read
// (another revision, or a row that appeared or went) rolls everything back: read again, decide again.

import type pg from 'pg';
import type { AuditEntry } from '../core/audit.ts';
import { deadlineMs } from '../core/decide.ts';
import type { UserId } from '../core/ids.ts';
import { type Event, isLive, type Session, type UserState } from '../core/session.ts';
import { invariant } from '../runtime/invariant.ts';
import { ask, ConflictError, DoneBeforeError, FencedError } from './database.ts';
import { isDone, type Once } from './idempotency.ts';
import type { Receipt } from './receipts.ts';

export type Fence = {
  readonly clientId: string;
  readonly token: number;
  /** The last packet from the broker that stands behind this write, asked when it is written; null when none does. */
  readonly heardAtMs: () => number | null;
};

export type Changes = {
  /** `revision` is the one that was read, 0 where there was no row; `next` is what it becomes. */
  readonly users: readonly { readonly revision: number; readonly next: number; readonly user: UserState }[];
  readonly sessions: readonly { readonly userId: UserId; readonly session: Session }[];
  readonly events: readonly Event[];
  readonly receipts: readonly Receipt[];
  /** Of callers of the API, who have no fence. */
  readonly audit: readonly AuditEntry[];
  /** What all of it is done for, once; null where nobody asked for that. */
  readonly once: Once | null;
};

const fencedSql = `
  fence as (
    update links set heard_at = greatest(heard_at, to_timestamp($38::float8 / 1000))
    where client_id = $36 and token = $37 and lease_until > clock_timestamp() returning 1),
  head as (
    update log_head set position = position + $1 where exists (select from fence) returning position - $1 as base),
  received as (
    insert into receipts (client_id, packet_id, digest, at)
    select $36, r.packet_id, r.digest, to_timestamp($38::float8 / 1000) from head, unnest($39::int[], $40::bytea[]) as r(packet_id, digest)
    on conflict (client_id, packet_id) do update set digest = excluded.digest, at = excluded.at),`;

const unfencedSql = `
  head as (update log_head set position = position + $1 returning position - $1 as base),`;

const auditSql = `
  audited as (
    insert into audit (at, actor, action, target, detail)
    select clock_timestamp(), a.actor, a.action, a.target, a.detail::jsonb
    from head, unnest($36::text[], $37::text[], $38::text[], $39::text[]) as a(actor, action, target, detail)),`;

const onceSql = `
  once as (update idempotency set done = true where caller = $40 and key = $41 and not done returning 1),
  head as (
    update log_head set position = position + $1 where exists (select from once) returning position - $1 as base),`;

const writeSql = (fence: string) => `
  with ${fence}
  written as (
    insert into users as u (user_id, revision, live_revision, sequence, kicked, since, last_seen_at, last_ended_at, last_event_at)
    select d.user_id, abs(d.revision), d.revision, d.sequence, d.kicked, ${time('d.since')}, ${time('d.seen')}, ${time('d.ended')}, ${time('d.event')}
    from head, unnest($2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::float8[], $7::float8[], $8::float8[], $9::float8[])
      as d(user_id, revision, sequence, kicked, since, seen, ended, event)
    on conflict (user_id) do update set revision = excluded.revision, live_revision = excluded.live_revision, sequence = excluded.sequence,
      kicked = excluded.kicked, since = excluded.since, last_seen_at = excluded.last_seen_at, last_ended_at = excluded.last_ended_at,
      last_event_at = excluded.last_event_at
    where u.revision = excluded.revision - 1 and u.revision > 0
    returning (xmax = 0) as is_new),
  kept as (
    insert into sessions (user_id, session_id, status, epoch, forgotten_epoch, unheard, client_id, device, key_id, started_at,
      last_seen_at, takeover_at, owed_wills, deadline_at, ended_at, reason)
    select d.user_id, d.session_id, d.status::session_status, d.epoch, d.forgotten, d.unheard, d.client_id, d.device::jsonb, d.key_id,
      ${time('d.started')}, ${time('d.seen')}, ${time('d.takeover')}, d.owed, ${time('d.deadline')}, ${time('d.ended')}, d.reason
    from head, unnest($10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::float8[],
      $18::float8[], $19::float8[], $20::int[], $21::float8[], $22::float8[], $23::text[], $34::text[], $35::bool[])
      as d(user_id, session_id, status, epoch, forgotten, client_id, device, started, seen, takeover, owed, deadline, ended, reason, key_id, unheard)
    on conflict (user_id, session_id) do update set status = excluded.status, epoch = excluded.epoch,
      forgotten_epoch = excluded.forgotten_epoch, unheard = excluded.unheard, client_id = excluded.client_id, device = excluded.device,
      key_id = excluded.key_id, started_at = excluded.started_at, last_seen_at = excluded.last_seen_at,
      takeover_at = excluded.takeover_at, owed_wills = excluded.owed_wills, deadline_at = excluded.deadline_at,
      ended_at = excluded.ended_at, reason = excluded.reason),
  appended as (
    insert into events (position, user_id, sequence, type, session_id, epoch, reason, device, at)
    select head.base + d.n, d.user_id, d.sequence, d.type, d.session_id, d.epoch, d.reason, d.device::jsonb, ${time('d.at')}
    from head, unnest($24::text[], $25::bigint[], $26::text[], $27::text[], $28::bigint[], $29::text[], $30::text[], $31::float8[])
      with ordinality as d(user_id, sequence, type, session_id, epoch, reason, device, at, n))
  select base, case when (select count(*) from written) <> $32::int or (select count(*) from written where is_new) <> $33::int
    then willow_conflict() end, case when $1 > 0 then pg_notify('willow_log', '') end from head`;

function time(column: string): string {
  return `to_timestamp(${column} / 1000)`;
}

const writeFenced = { name: 'write-fenced', text: writeSql(fencedSql) };
const writeUnfenced = { name: 'write', text: writeSql(unfencedSql) };
const writeAudited = { name: 'write-audited', text: writeSql(unfencedSql + auditSql) };
const writeOnce = { name: 'write-once', text: writeSql(onceSql + auditSql) };

/** Returns the position of the log before the first of these events. Throws ConflictError, FencedError, DoneBeforeError, DataRefusedError. */
export async function writeChanges(pool: pg.Pool, changes: Changes, fence: Fence | null): Promise<number> {
  const values = valuesOf(changes);
  const { rows } = await ask<{ base: number }>(pool, statementOf(changes, values, fence));
  const [head] = rows;
  if (head !== undefined) return head.base;
  if (changes.once !== null) throw await whyNotOnce(pool, changes.once);
  throw new FencedError('the ingest lease is held by another process, or has run out');
}

async function whyNotOnce(pool: pg.Pool, once: Once): Promise<Error> {
  if (await isDone(pool, once)) return new DoneBeforeError('what was asked for by this key is done');
  return new ConflictError('what was asked for by this key was erased a moment ago');
}

function statementOf(
  { audit, receipts, once }: Changes,
  values: readonly unknown[],
  fence: Fence | null,
): pg.QueryConfig {
  if (fence !== null) {
    invariant(audit.length === 0, 'what the broker delivers is nobody’s deed');
    return { ...writeFenced, values: [...values, ...fenceValues(fence, receipts)] };
  }
  if (once !== null) return { ...writeOnce, values: [...values, ...auditValues(audit), once.caller, once.key] };
  if (audit.length === 0) return { ...writeUnfenced, values: [...values] };
  return { ...writeAudited, values: [...values, ...auditValues(audit)] };
}

function auditValues(audit: readonly AuditEntry[]): unknown[] {
  return [
    audit.map(({ actor }) => actor),
    audit.map(({ action }) => action),
    audit.map(({ target }) => target),
    audit.map(({ detail }) => JSON.stringify(detail)),
  ];
}

function fenceValues(fence: Fence, receipts: readonly Receipt[]): unknown[] {
  const packetIds = receipts.map(({ packetId }) => packetId);
  return [fence.clientId, fence.token, fence.heardAtMs(), packetIds, receipts.map(({ digest }) => digest)];
}

function valuesOf({ users, sessions, events }: Changes): unknown[] {
  // One order for all, so that two writers cannot wait for each other.
  const byId = users.toSorted((a, b) => (a.user.userId < b.user.userId ? -1 : 1));
  return [
    events.length,
    byId.map(({ user }) => user.userId),
    // Its sign goes into the row with it: whether a session is live.
    byId.map(({ next, user }) => (user.sessions.values().some(isLive) ? next : -next)),
    byId.map(({ user }) => user.sequence),
    byId.map(({ user }) => user.isKicked),
    byId.map(({ user }) => user.sinceMs),
    byId.map(({ user }) => user.lastSeenAtMs),
    byId.map(({ user }) => user.lastEndedAtMs),
    byId.map(({ user }) => user.lastEventAtMs),
    sessions.map(({ userId }) => userId),
    sessions.map(({ session }) => session.sessionId),
    sessions.map(({ session }) => session.status),
    sessions.map(({ session }) => session.epoch),
    sessions.map(({ session }) => session.forgottenEpoch),
    sessions.map(({ session }) => session.clientId),
    sessions.map(({ session }) => (session.device === null ? null : JSON.stringify(session.device))),
    sessions.map(({ session }) => session.startedAtMs),
    sessions.map(({ session }) => session.lastSeenAtMs),
    sessions.map(({ session }) => (session.status === 'online' ? session.takeoverAtMs : null)),
    sessions.map(({ session }) => (session.status === 'online' ? session.owedWills : 0)),
    sessions.map(({ session }) => (isLive(session) ? deadlineMs(session) : null)),
    sessions.map(({ session }) => (session.status === 'ended' ? session.endedAtMs : null)),
    sessions.map(({ session }) => (session.status === 'ended' ? session.reason : null)),
    events.map(({ userId }) => userId),
    events.map(({ sequence }) => sequence),
    events.map(({ type }) => type),
    events.map(({ sessionId }) => sessionId),
    events.map(({ epoch }) => epoch),
    events.map(({ reason }) => reason),
    events.map(({ device }) => (device === null ? null : JSON.stringify(device))),
    events.map(({ atMs }) => atMs),
    users.length,
    users.filter(({ revision }) => revision === 0).length,
    sessions.map(({ session }) => session.keyId),
    sessions.map(({ session }) => session.isUnheard),
  ];
}
