// The ingest lease and the state of the link to the broker, one row for each client id. The database's clock decides who holds it;
// every new holder gets a larger token, and a write that names an older one is refused (write.ts).

import type pg from 'pg';
import { ask, FencedError } from './database.ts';

export type Lease = { readonly clientId: string; readonly token: number };

/** In doubt: the last holder connected, and did not live to record whether the broker still had our session. */
type Claim = Lease & { readonly isInDoubt: boolean };

/** Null while another process holds it. `holder` is unique to a process. */
export async function acquireLease(
  pool: pg.Pool,
  claim: {
    readonly clientId: string;
    readonly sharedGroup: string | null;
    readonly holder: string;
    readonly leaseMs: number;
  },
): Promise<Claim | null> {
  const { rows } = await ask<{ token: number; in_doubt: boolean }>(pool, {
    text: `insert into links as l (client_id, shared_group, token, holder, lease_until)
     values ($1, $2, 1, $3, clock_timestamp() + $4 * interval '1 ms')
     on conflict (client_id) do update set shared_group = excluded.shared_group, token = l.token + 1, holder = excluded.holder,
       lease_until = excluded.lease_until, connected_since = null
     where l.lease_until <= clock_timestamp() or l.holder = excluded.holder
     returning token, in_doubt`,
    values: [claim.clientId, claim.sharedGroup, claim.holder, claim.leaseMs],
  });
  const [row] = rows;
  return row === undefined ? null : { clientId: claim.clientId, token: row.token, isInDoubt: row.in_doubt };
}

/** Keeps the lease and tells how the link is. False when the lease was lost. */
export async function renewLease(
  pool: pg.Pool,
  lease: Lease,
  link: {
    readonly leaseMs: number;
    readonly connectedSinceMs: number | null;
    readonly heardAtMs: number | null;
    readonly caughtUpAtMs: number | null;
    readonly isInDoubt: boolean;
  },
): Promise<boolean> {
  const { rowCount } = await ask(pool, {
    name: 'renew-lease',
    text: `update links set lease_until = clock_timestamp() + $3 * interval '1 ms', connected_since = to_timestamp($4::float8 / 1000),
        heard_at = greatest(heard_at, to_timestamp($5::float8 / 1000)), caught_up_at = to_timestamp($6::float8 / 1000),
        acknowledged_at = coalesce(to_timestamp($6::float8 / 1000), acknowledged_at), in_doubt = $7
      where client_id = $1 and token = $2 and lease_until > clock_timestamp()`,
    values: [
      lease.clientId,
      lease.token,
      link.leaseMs,
      link.connectedSinceMs,
      link.heardAtMs,
      link.caughtUpAtMs,
      link.isInDoubt,
    ],
  });
  return rowCount === 1;
}

/** Lets the next process have it at once. */
export async function releaseLease(pool: pg.Pool, lease: Lease, isInDoubt: boolean): Promise<void> {
  await ask(pool, {
    text: `update links set lease_until = clock_timestamp(), connected_since = null, in_doubt = $3
      where client_id = $1 and token = $2`,
    values: [lease.clientId, lease.token, isInDoubt],
  });
}

/**
 * The broker has a session of ours that begins now: what it queued or sent for an earlier one is gone, and so are the receipts of its
 * packet ids. Unless nothing was ever heard, wills may have been lost: true then.
 */
export async function recordNewBrokerSession(pool: pg.Pool, lease: Lease, atMs: number): Promise<boolean> {
  const { rows } = await ask<{ is_gap: boolean }>(pool, {
    text: `with gap as (
       update links set gap_at = case when heard_at is null then null else greatest(gap_at, to_timestamp($3::float8 / 1000)) end,
         in_doubt = false
       where client_id = $1 and token = $2 returning client_id, heard_at is not null as is_gap),
     gone as (delete from receipts where client_id in (select client_id from gap))
     select is_gap from gap`,
    values: [lease.clientId, lease.token, atMs],
  });
  const [row] = rows;
  if (row === undefined) throw new FencedError('the ingest lease is held by another process');
  return row.is_gap;
}

export type LinkScope = { readonly clientId: string; readonly sharedGroup: string | null };

/** The condition on `links l` that selects the link, or all links of the group; takes two parameters from `$n` on. */
export function linkScopeSql(n: number): string {
  return `(l.shared_group = $${n + 1} or $${n + 1}::text is null and l.client_id = $${n})`;
}

const isUp = 'l.connected_since is not null and l.lease_until > clock_timestamp()';

/**
 * The lease on the link of a member of the group that nobody holds, the one that was free for longest; null when there is none. Only for a
 * member whose own link is up: its subscription takes the messages for which the other's is ended.
 */
export async function inheritLease(
  pool: pg.Pool,
  scope: LinkScope,
  claim: { readonly holder: string; readonly leaseMs: number },
): Promise<Claim | null> {
  const { rows } = await ask<{ client_id: string; token: number; in_doubt: boolean }>(pool, {
    name: 'inherit-lease',
    text: `update links set token = token + 1, holder = $3, lease_until = clock_timestamp() + $4 * interval '1 ms', connected_since = null
      where client_id = (select o.client_id from links o
        where o.shared_group = $2 and o.client_id <> $1 and o.lease_until <= clock_timestamp()
          and exists (select from links l where l.client_id = $1 and l.shared_group = $2 and ${isUp})
        order by o.lease_until limit 1 for update skip locked)
      returning client_id, token, in_doubt`,
    values: [scope.clientId, scope.sharedGroup, claim.holder, claim.leaseMs],
  });
  const [row] = rows;
  return row === undefined ? null : { clientId: row.client_id, token: row.token, isInDoubt: row.in_doubt };
}

/**
 * The member whose lease this is left nothing behind: its link counts no longer, and its gap is the heir's. A new broker session of it will
 * be its first. Frees the lease.
 */
export async function recordWoundUp(pool: pg.Pool, lease: Lease, heir: LinkScope): Promise<void> {
  const { rowCount } = await ask(pool, {
    text: `with link as (
       select client_id, gap_at from links where client_id = $1 and token = $2 and lease_until > clock_timestamp() for update),
     heir as (update links h set gap_at = greatest(h.gap_at, link.gap_at) from link where h.client_id = $3),
     gone as (delete from receipts where client_id in (select client_id from link))
     update links l set shared_group = null, lease_until = clock_timestamp(), connected_since = null, heard_at = null, caught_up_at = null,
       gap_at = null, in_doubt = false
     from link where l.client_id = link.client_id`,
    values: [lease.clientId, lease.token, heir.clientId],
  });
  if (rowCount === 0) throw new FencedError('the ingest lease is held by another process, or has run out');
}

/** Up: all links of the scope are. A member that is gone counts until it is wound up: what the broker queued for it is not heard. */
export const linkViewColumns = `coalesce(bool_and(${isUp}), false) as is_up,
  max(l.heard_at) as heard_at, max(l.gap_at) as gap_at`;

/**
 * The moment up to which the other members of the group have settled all that the broker had for them; null where there are none, 0 while
 * one is away.
 */
export async function othersCaughtUpAtMs(pool: pg.Pool, scope: LinkScope): Promise<number | null> {
  if (scope.sharedGroup === null) return null;
  const { rows } = await ask<{ caught_up_at: number | null }>(pool, {
    name: 'others-caught-up',
    text: `select min(case when ${isUp} then coalesce(l.caught_up_at, 'epoch') else 'epoch' end) as caught_up_at
      from links l where l.shared_group = $2 and l.client_id <> $1`,
    values: [scope.clientId, scope.sharedGroup],
  });
  return rows[0]?.caught_up_at ?? null;
}
