// The endpoints as those who send see them: those that are enabled, with the secrets that sign for them. Sealed secrets are opened here and
// nowhere else, and sealed anew when a newer key has come, so that the older one can go.

import type pg from 'pg';
import type { EventType } from '../core/session.ts';
import { SealError, type Sealing } from '../runtime/sealing.ts';
import { ask } from './database.ts';

export type SigningEndpoint = {
  readonly id: string;
  /** Grows with every change that somebody makes. */
  readonly revision: number;
  readonly url: string;
  /** Null: all. */
  readonly events: readonly EventType[] | null;
  readonly maxBatch: number;
  readonly failingSinceMs: number | null;
  readonly lastSuccessAtMs: number | null;
  /** Lanes whose delivery in hand has failed, and was not just refused. */
  readonly failingLanes: number;
  /** Sealed: the newest first, and until when each signs; null is for ever. */
  readonly sealed: readonly { readonly secret: Buffer; readonly untilMs: number | null }[];
};

type SigningRow = {
  readonly id: string;
  readonly revision: number;
  readonly url: string;
  readonly events: readonly EventType[] | null;
  readonly max_batch: number;
  readonly failing_since: number | null;
  readonly last_success_at: number | null;
  readonly failing_lanes: number;
  readonly secret: Buffer;
  readonly previous_secret: Buffer | null;
  readonly previous_until: number | null;
};

// Asked every second: lanes are counted of those endpoints only that fail.
const signingSql = `select id, revision, url, events, max_batch, failing_since, last_success_at, secret, previous_secret, previous_until,
    case when failing_since is null then 0 else (
      select count(*) from lanes l where l.endpoint_id = endpoints.id and l.attempts > l.refusals) end as failing_lanes
  from endpoints`;

function signingEndpointOf(row: SigningRow): SigningEndpoint {
  const previous = row.previous_secret === null ? [] : [{ secret: row.previous_secret, untilMs: row.previous_until }];
  return {
    id: row.id,
    revision: row.revision,
    url: row.url,
    events: row.events,
    maxBatch: row.max_batch,
    failingSinceMs: row.failing_since,
    lastSuccessAtMs: row.last_success_at,
    failingLanes: row.failing_lanes,
    sealed: [{ secret: row.secret, untilMs: null }, ...previous],
  };
}

export async function listSigningEndpoints(pool: pg.Pool): Promise<readonly SigningEndpoint[]> {
  const { rows } = await ask<SigningRow>(pool, {
    name: 'signing-endpoints',
    text: `${signingSql} where status = 'enabled' order by id`,
  });
  return rows.map(signingEndpointOf);
}

/** Disabled ones too: a test may be sent to them. */
export async function getSigningEndpoint(pool: pg.Pool, id: string): Promise<SigningEndpoint | null> {
  const { rows } = await ask<SigningRow>(pool, { text: `${signingSql} where id = $1`, values: [id] });
  return rows[0] === undefined ? null : signingEndpointOf(rows[0]);
}

/** The secrets that sign at a moment, the newest first. Throws SealError at once when the newest cannot be opened. */
export function openSecrets({ id, sealed }: SigningEndpoint, sealing: Sealing): (nowMs: number) => readonly Buffer[] {
  const [newest, ...previous] = sealed.map(({ secret, untilMs }, index) => ({
    key: index === 0 ? sealing.open(secret, id) : openOrNull(sealing, secret, id),
    untilMs,
  }));
  return (nowMs) =>
    [newest, ...previous].flatMap((one) => {
      const isSigning = one !== undefined && (one.untilMs === null || nowMs < one.untilMs);
      return isSigning && one.key !== null ? [one.key] : [];
    });
}

/** The one before is a courtesy: the newest signs without it. */
function openOrNull(sealing: Sealing, sealed: Buffer, id: string): Buffer | null {
  try {
    return sealing.open(sealed, id);
  } catch (error) {
    if (error instanceof SealError) return null;
    throw error;
  }
}

/** Seals anew what an older key sealed. Returns how many, and the endpoints whose secret no key opens: those have to be rotated. */
export async function resealSecrets(
  pool: pg.Pool,
  sealing: Sealing,
): Promise<{ readonly resealed: number; readonly unreadable: readonly string[] }> {
  const { rows } = await ask<SigningRow>(pool, { text: `${signingSql} order by id` });
  const unreadable: string[] = [];
  let resealed = 0;
  for (const { id, secret, previous_secret: previous } of rows) {
    const isNewest = sealing.isNewest(secret) && (previous === null || sealing.isNewest(previous));
    const key = openOrNull(sealing, secret, id);
    if (key === null) unreadable.push(id);
    if (key === null || isNewest) continue;
    const previousKey = previous === null ? null : openOrNull(sealing, previous, id);
    // Not over one that was rotated meanwhile.
    const { rowCount } = await ask(pool, {
      text: 'update endpoints set secret = $3, previous_secret = $4 where id = $1 and secret = $2',
      values: [id, secret, sealing.seal(key, id), previousKey === null ? previous : sealing.seal(previousKey, id)],
    });
    resealed += rowCount ?? 0;
  }
  return { resealed, unreadable };
}
