// The endpoints of webhooks, as those who manage them see and change them. Every change is one transaction, grows the revision and tells it on
// a channel, so that those who send know of it at once. An endpoint's secret leaves this file sealed, or once, when it is made.

import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Actor, AuditEntry } from '../core/audit.ts';
import type { EventType } from '../core/session.ts';
import { invariant } from '../runtime/invariant.ts';
import { keyBytes, type Sealing } from '../runtime/sealing.ts';
import { recordAudit } from './audit.ts';
import { ask } from './database.ts';
import { divide, forgetFailures, lockLanes, moveBack, redivide } from './divisions.ts';
import { type Gone, headOfLog, type Refusal, startOf } from './log-start.ts';
import { type Tx, transact } from './transact.ts';

export type DisabledReason = 'gone' | 'failing' | 'paused';

export type Endpoint = {
  readonly id: string;
  readonly url: string;
  readonly description: string | null;
  /** Null: all. */
  readonly events: readonly EventType[] | null;
  readonly lanes: number;
  readonly maxBatch: number;
  /** Null while it is enabled. */
  readonly disabledReason: DisabledReason | null;
  readonly failingSinceMs: number | null;
  readonly lastSuccessAtMs: number | null;
  /** Until then the secret before this one signs too. */
  readonly previousSecretUntilMs: number | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Of its slowest lane. */
  readonly position: number;
  /** Of the log, at the same moment. */
  readonly head: number;
};

export type EndpointWish = Pick<Endpoint, 'url' | 'description' | 'events' | 'lanes' | 'maxBatch'>;
export type EndpointChanges = { readonly [K in keyof EndpointWish]?: EndpointWish[K] | undefined } & {
  readonly isEnabled?: boolean | undefined;
};

/** The secret is the key of the signatures, as it is. */
export type WithSecret = { readonly kind: 'done'; readonly endpoint: Endpoint; readonly secret: Buffer };
export type Done = { readonly kind: 'done'; readonly endpoint: Endpoint };
export type Unknown = { readonly kind: 'unknown' };
export type TooMany = { readonly kind: 'too-many'; readonly endpointsMax: number };

/** One lane of each is a query a second, and a list that one page shows. */
export const endpointsMax = 1_000;
/** How long the secret before goes on signing. */
export const rotationMs = 24 * 3_600_000;
/** Where changes are told: the payload is the id of the endpoint. */
export const endpointsChannel = 'willow_endpoints';
/** Any number, as long as all versions agree: who creates waits for the other who does, so that both count right. */
const creationLockKey = 0x77_68_65;

type EndpointRow = {
  readonly id: string;
  readonly url: string;
  readonly description: string | null;
  readonly events: readonly EventType[] | null;
  readonly lanes: number;
  readonly max_batch: number;
  readonly disabled_reason: DisabledReason | null;
  readonly failing_since: number | null;
  readonly last_success_at: number | null;
  readonly previous_until: number | null;
  readonly created_at: number;
  readonly updated_at: number;
  readonly position: number | null;
  readonly head: number;
};

const endpointSql = `select e.id, e.url, e.description, e.events, e.lanes, e.max_batch, e.disabled_reason, e.failing_since, e.last_success_at,
    case when e.previous_until > clock_timestamp() then e.previous_until end as previous_until, e.created_at, e.updated_at,
    (select min(l.position) from lanes l where l.endpoint_id = e.id) as position, (select h.position from log_head h) as head
  from endpoints e`;

function endpointOf(row: EndpointRow): Endpoint {
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    events: row.events,
    lanes: row.lanes,
    maxBatch: row.max_batch,
    disabledReason: row.disabled_reason,
    failingSinceMs: row.failing_since,
    lastSuccessAtMs: row.last_success_at,
    previousSecretUntilMs: row.previous_until,
    createdAtMs: row.created_at,
    updatedAtMs: row.updated_at,
    position: row.position ?? row.head,
    head: row.head,
  };
}

/** Newest first, then by id, both descending. */
export async function listEndpoints(
  pool: pg.Pool,
  page: { readonly limit: number; readonly after: { readonly createdAtMs: number; readonly id: string } | null },
): Promise<readonly Endpoint[]> {
  const { rows } = await ask<EndpointRow>(pool, {
    text: `${endpointSql} where $1::float8 is null or (e.created_at, e.id) < (to_timestamp($1 / 1000), $2)
      order by e.created_at desc, e.id desc limit $3`,
    values: [page.after?.createdAtMs ?? null, page.after?.id ?? null, page.limit],
  });
  return rows.map(endpointOf);
}

export async function getEndpoint(pool: pg.Pool, id: string): Promise<Endpoint | null> {
  const { rows } = await ask<EndpointRow>(pool, { text: `${endpointSql} where e.id = $1`, values: [id] });
  return rows[0] === undefined ? null : endpointOf(rows[0]);
}

async function read(tx: Tx, id: string): Promise<Endpoint | null> {
  const { rows } = await tx.ask<EndpointRow>({ text: `${endpointSql} where e.id = $1`, values: [id] });
  return rows[0] === undefined ? null : endpointOf(rows[0]);
}

/** Starts behind `after`, or at the end of the log where that is null; paused, it keeps that place until it is enabled. */
export async function createEndpoint(
  pool: pg.Pool,
  sealing: Sealing,
  wish: EndpointWish & { readonly after: number | null; readonly isEnabled: boolean },
  actor: Actor,
): Promise<WithSecret | Refusal | TooMany> {
  const id = `whe_${randomBytes(16).toString('base64url')}`;
  const secret = randomBytes(keyBytes);
  return transact(pool, async (tx) => {
    await tx.ask({ text: 'select pg_advisory_xact_lock($1)', values: [creationLockKey] });
    const { rows } = await tx.ask<{ count: number }>({ text: 'select count(*) as count from endpoints' });
    if ((rows[0]?.count ?? 0) >= endpointsMax) return { kind: 'too-many', endpointsMax };
    const start = await startOf(tx, wish.after);
    if (typeof start !== 'number') return start;
    await tx.ask({
      text: `insert into endpoints (id, url, description, events, lanes, max_batch, secret, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), clock_timestamp())`,
      values: [id, wish.url, wish.description, wish.events, wish.lanes, wish.maxBatch, sealing.seal(secret, id)],
    });
    if (!wish.isEnabled) await pauseSending(tx, id);
    await divide(tx, id, { generation: 1, lanes: wish.lanes, position: start });
    return withSecret(await tell(tx, id, { actor, action: 'webhook.created', detail: shown(wish) }), secret);
  });
}

/** A change of `lanes` lets the old ones come to the mark first; another `url` is tried at once. Enabling can find the log gone on. */
export async function changeEndpoint(
  pool: pg.Pool,
  id: string,
  changes: EndpointChanges,
  actor: Actor,
): Promise<Done | Unknown | Gone> {
  return transact(pool, async (tx) => {
    const before = await lock(tx, id);
    if (before === null) return { kind: 'unknown' };
    const isEnabling = changes.isEnabled === true && before.disabledReason !== null;
    const gone = isEnabling ? await whatIsGone(tx, before) : null;
    if (gone !== null) return gone;
    const { lanes = before.lanes, url = before.url, maxBatch = before.maxBatch } = changes;
    const { description = before.description, events = before.events } = changes;
    await tx.ask({
      text: 'update endpoints set url = $2, description = $3, events = $4, lanes = $5, max_batch = $6 where id = $1',
      values: [id, url, description, events, lanes, maxBatch],
    });
    if (lanes !== before.lanes) await redivide(tx, id, lanes);
    if (isEnabling) await enable(tx, id);
    else if (url !== before.url) await forgetFailures(tx, id);
    if (changes.isEnabled === false) await pauseSending(tx, id);
    return done(await tell(tx, id, { actor, action: 'webhook.changed', detail: shown(changes) }));
  });
}

/** Goes on where it stopped, and waits for nothing; gone where the log no longer has what comes next. */
export async function enableEndpoint(pool: pg.Pool, id: string, actor: Actor): Promise<Done | Unknown | Gone> {
  return transact(pool, async (tx) => {
    const before = await lock(tx, id);
    if (before === null) return { kind: 'unknown' };
    const gone = await whatIsGone(tx, before);
    if (gone !== null) return gone;
    await enable(tx, id);
    return done(await tell(tx, id, { actor, action: 'webhook.enabled', detail: {} }));
  });
}

/** What has come since is sent again, and what is owed stays owed. What is parked stays parked. */
export async function replayEndpoint(
  pool: pg.Pool,
  id: string,
  after: number,
  actor: Actor,
): Promise<Done | Unknown | Refusal> {
  return transact(pool, async (tx) => {
    const before = await lock(tx, id);
    if (before === null) return { kind: 'unknown' };
    const start = await startOf(tx, after);
    if (typeof start !== 'number') return start;
    await moveBack(tx, id, start, (await headOfLog(tx)).trimmed);
    await forgetFailures(tx, id);
    return done(await tell(tx, id, { actor, action: 'webhook.replayed', detail: { after } }));
  });
}

/** Both secrets sign for a day. Rotated again within it, the newest two do. */
export async function rotateSecret(
  pool: pg.Pool,
  sealing: Sealing,
  id: string,
  actor: Actor,
): Promise<WithSecret | Unknown> {
  const secret = randomBytes(keyBytes);
  return transact(pool, async (tx) => {
    const { rowCount } = await tx.ask({
      text: `update endpoints set previous_secret = secret, previous_until = clock_timestamp() + $3 * interval '1 ms', secret = $2
        where id = $1`,
      values: [id, sealing.seal(secret, id), rotationMs],
    });
    if (rowCount === 0) return { kind: 'unknown' };
    return withSecret(await tell(tx, id, { actor, action: 'webhook.rotated', detail: {} }), secret);
  });
}

/** With its lanes, attempts and parked events. False when there was none. */
export async function removeEndpoint(pool: pg.Pool, id: string, actor: Actor): Promise<boolean> {
  return transact(pool, async (tx) => {
    await lockLanes(tx, id);
    const { rows } = await tx.ask<{ url: string }>({
      text: 'delete from endpoints where id = $1 returning url',
      values: [id],
    });
    const [removed] = rows;
    if (removed === undefined) return false;
    await notify(tx, id);
    await recordAudit(tx, { actor, action: 'webhook.removed', target: `webhook:${id}`, detail: shown(removed) });
    return true;
  });
}

async function lock(tx: Tx, id: string): Promise<Endpoint | null> {
  await lockLanes(tx, id);
  await tx.ask({ text: 'select from endpoints where id = $1 for no key update', values: [id] });
  return read(tx, id);
}

async function whatIsGone(tx: Tx, { position }: Endpoint): Promise<Gone | null> {
  const { trimmed } = await headOfLog(tx);
  return position < trimmed ? { kind: 'gone', startsAfter: trimmed } : null;
}

async function enable(tx: Tx, id: string): Promise<void> {
  await tx.ask({
    text: `update endpoints set status = 'enabled', disabled_reason = null, failing_since = null where id = $1`,
    values: [id],
  });
  await forgetFailures(tx, id);
}

async function pauseSending(tx: Tx, id: string): Promise<void> {
  await tx.ask({
    text: `update endpoints set status = 'disabled', disabled_reason = 'paused' where id = $1 and status = 'enabled'`,
    values: [id],
  });
}

/** What the audit trail says of a wish or a change. The path of a URL may be a password. */
function shown({
  url,
  isEnabled: enabled,
  ...others
}: EndpointChanges & { readonly after?: number | null }): AuditEntry['detail'] {
  return { ...(url !== undefined && { url: new URL(url).origin }), enabled, ...others };
}

/** The last step of every change. */
async function tell(tx: Tx, id: string, deed: Omit<AuditEntry, 'target'>): Promise<Endpoint | null> {
  await recordAudit(tx, { ...deed, target: `webhook:${id}` });
  await tx.ask({
    text: 'update endpoints set revision = revision + 1, updated_at = clock_timestamp() where id = $1',
    values: [id],
  });
  await notify(tx, id);
  return read(tx, id);
}

async function notify(tx: Tx, id: string): Promise<void> {
  await tx.ask({ text: 'select pg_notify($1, $2)', values: [endpointsChannel, id] });
}

function done(endpoint: Endpoint | null): Done | Unknown {
  return endpoint === null ? { kind: 'unknown' } : { kind: 'done', endpoint };
}

function withSecret(endpoint: Endpoint | null, secret: Buffer): WithSecret {
  invariant(endpoint !== null, 'what a transaction has written it can read');
  return { kind: 'done', endpoint, secret };
}
