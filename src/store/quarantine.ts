// Where messages that mean nothing go, to be read later. Bounded in rows and in bytes: the oldest go first.

import type pg from 'pg';
import type { Actor } from '../core/audit.ts';
import type { QuarantineReason } from '../core/signal.ts';
import { recordAudit } from './audit.ts';
import { ask } from './database.ts';
import { transact } from './transact.ts';

export type QuarantineRow = {
  readonly receivedAtMs: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly payloadBytes: number;
  readonly reason: QuarantineReason;
  readonly detail: string;
};

/** What is kept of a payload and of a topic. */
const payloadKeptBytes = 1_024;
const topicKeptCharacters = 512;
const quarantineBytesMax = 16 * 1024 * 1024;

export async function addToQuarantine(pool: pg.Pool, rows: readonly QuarantineRow[]): Promise<void> {
  await ask(pool, {
    name: 'quarantine',
    text: `insert into quarantine (received_at, topic, payload, payload_bytes, reason, detail)
      select to_timestamp(received_at / 1000), topic, payload, payload_bytes, reason, detail
      from unnest($1::float8[], $2::text[], $3::bytea[], $4::int[], $5::text[], $6::text[])
        as q(received_at, topic, payload, payload_bytes, reason, detail)`,
    values: [
      rows.map(({ receivedAtMs }) => receivedAtMs),
      rows.map(({ topic }) => storable(topic)),
      rows.map(({ payload }) => withoutSignatures(payload).subarray(0, payloadKeptBytes)),
      rows.map(({ payloadBytes }) => payloadBytes),
      rows.map(({ reason }) => reason),
      rows.map(({ detail }) => detail),
    ],
  });
}

/** Removes the oldest beyond the limits; returns how many. */
export async function trimQuarantine(pool: pg.Pool, rowsMax: number): Promise<number> {
  const { rowCount } = await ask(pool, {
    text: `delete from quarantine where id <= (
       select max(id) from (
         select id, row_number() over newest as place, sum(length(payload) + length(topic)) over newest as bytes
         from quarantine window newest as (order by id desc)) kept
       where place > $1 or bytes > $2)`,
    values: [rowsMax, quarantineBytesMax],
  });
  return rowCount ?? 0;
}

export type KeptMessage = Omit<QuarantineRow, 'reason'> & { readonly id: number; readonly reason: string };

const columns = 'id, received_at as "receivedAtMs", topic, payload, payload_bytes as "payloadBytes", reason, detail';

/** Newest first. There is no index on the reason: there are few rows, and the newest of them are wanted. */
export async function listQuarantine(
  pool: pg.Pool,
  page: { readonly limit: number; readonly before: number | null; readonly reason: QuarantineReason | null },
): Promise<readonly KeptMessage[]> {
  const { rows } = await ask<KeptMessage>(pool, {
    text: `select ${columns} from quarantine
      where ($1::bigint is null or id < $1) and ($2::text is null or reason = $2) order by id desc limit $3`,
    values: [page.before, page.reason, page.limit],
  });
  return rows;
}

export async function getQuarantined(pool: pg.Pool, id: number): Promise<KeptMessage | null> {
  const { rows } = await ask<KeptMessage>(pool, {
    text: `select ${columns} from quarantine where id = $1`,
    values: [id],
  });
  return rows[0] ?? null;
}

/** False when there is no such message (any more). */
export async function removeQuarantined(pool: pg.Pool, id: number, actor: Actor): Promise<boolean> {
  return transact(pool, async (tx) => {
    const { rows } = await tx.ask<{ readonly reason: string }>({
      text: 'delete from quarantine where id = $1 returning reason',
      values: [id],
    });
    const [removed] = rows;
    if (removed === undefined) return false;
    const { reason } = removed;
    await recordAudit(tx, { actor, action: 'quarantine.removed', target: `quarantine:${id}`, detail: { reason } });
    return true;
  });
}

/** A broker lets topics through that PostgreSQL cannot keep. */
function storable(topic: string): string {
  return cutSignatures(topic, '…').slice(0, topicKeptCharacters).toWellFormed().replaceAll('\0', '\u{FFFD}');
}

/** Whoever may read what could not be understood cannot speak for those who said it. Bytes are kept as they are: a payload need be no text. */
function withoutSignatures(payload: Uint8Array): Buffer {
  return Buffer.from(cutSignatures(Buffer.from(payload).toString('latin1'), ellipsisBytes), 'latin1');
}

const ellipsisBytes = Buffer.from('…').toString('latin1');

/** The third part of what looks like a JWS: two parts of base64url before it, the first of which has JSON in it. In one pass, however long. */
function cutSignatures(text: string, cut: string): string {
  return text.replaceAll(/[\w.-]+/g, (run) => {
    const parts = run.split('.');
    return parts.map((part, index) => (parts[index - 2]?.includes(jsonBegins) === true ? cut : part)).join('.');
  });
}

/** `{"` in base64url. */
const jsonBegins = 'eyJ';
