// Which messages are redeliveries, where no epoch tells (I4): one has the packet id and the content of a message that was committed, that the
// batch ahead is about to commit, or that stands further in front in the same batch. The content is compared because packet ids are used
// again: the same id alone may be another message, whose first delivery never arrived. For the same reason a receipt in the table is good
// until the broker is known to have read the PUBACK, and not for ever.

import type pg from 'pg';
import { ask } from './database.ts';

export type Receipt = { readonly packetId: number; readonly digest: Buffer };

export type Heard = {
  /** For a signal without an epoch that came with a packet id: what its redelivery will be known by. */
  readonly receipt: Receipt | null;
  /** The broker may have delivered it before (DUP), or this process may have committed it without hearing so. */
  readonly mayBeCommitted: boolean;
};

/** Between the commit of a message and its PUBACK lies no wait; a process may be held up there, for less than this. */
const acknowledgeMsMax = 60_000;

/** One for each packet id, as the table keeps them. */
export function receiptsOf(entries: readonly Heard[]): Receipt[] {
  const byPacketId = new Map<number, Receipt>();
  for (const { receipt } of entries) if (receipt !== null) byPacketId.set(receipt.packetId, receipt);
  return [...byPacketId.values()];
}

/** Those that were committed, of messages that may have been. */
export async function findReceipts(
  pool: pg.Pool,
  entries: readonly Heard[],
  clientId: string,
): Promise<readonly Receipt[]> {
  const suspects = entries.flatMap(({ receipt, mayBeCommitted }) =>
    mayBeCommitted && receipt !== null ? [receipt] : [],
  );
  if (suspects.length === 0) return [];
  const { rows } = await ask<{ packet_id: number; digest: Buffer }>(pool, {
    name: 'find-receipts',
    text: `select r.packet_id, r.digest from receipts r join unnest($2::int[], $3::bytea[]) as s(packet_id, digest)
        on r.packet_id = s.packet_id and r.digest = s.digest join links l on l.client_id = r.client_id
      where r.client_id = $1 and r.at > coalesce(l.acknowledged_at, '-infinity') - interval '${acknowledgeMsMax} ms'`,
    values: [clientId, suspects.map(({ packetId }) => packetId), suspects.map(({ digest }) => digest)],
  });
  return rows.map(({ packet_id, digest }) => ({ packetId: packet_id, digest }));
}

/** `receipts` are those of messages before these. */
export function redeliveredAmong<Entry extends Heard>(
  entries: readonly Entry[],
  receipts: readonly Receipt[],
): ReadonlySet<Entry> {
  const known = new Set(receipts.map(keyOf));
  const redelivered = new Set<Entry>();
  for (const entry of entries) {
    if (entry.receipt === null) continue;
    const key = keyOf(entry.receipt);
    if (entry.mayBeCommitted && known.has(key)) redelivered.add(entry);
    known.add(key);
  }
  return redelivered;
}

function keyOf({ packetId, digest }: Receipt): string {
  return `${packetId}/${digest.toString('base64')}`;
}
