import { expect, test } from 'vitest';
import { countedWhen, openStage, settled } from '../support/stage.ts';
import { until } from '../support/until.ts';

const rowsMax = 1_000;
const warmUp = 10_000;
const messages = warmUp + 20_000;
const payloadBytes = 8 * 1024;
const mebibyte = 1024 * 1024;
/** The flood weighs 156 MiB, and 78 MiB with every payload cut to what may be kept of it in memory. */
const growthMebibytesMax = 64;

test('a flood of garbage leaves the newest in the quarantine, the memory flat, and a user online behind it', async () => {
  await using stage = await openStage({ QUARANTINE_ROWS_MAX: String(rowsMax) }, { inflightMax: 1_000 });
  const { willow, voice, database } = stage;
  const garbage = Buffer.alloc(payloadBytes, '{');
  const pour = async (first: number, last: number) => {
    for (let number = first; number <= last; number += 500) {
      await Promise.all(
        Array.from({ length: 500 }, (_, index) => voice.say(`/logout/garbage-${number + index}`, garbage)),
      );
    }
    await settled(willow, voice);
  };
  await pour(1, warmUp);
  const before = await willow.metric('process_resident_memory_bytes');
  await pour(warmUp + 1, messages);
  const after = await willow.metric('process_resident_memory_bytes');
  expect((after - before) / mebibyte).toBeLessThan(growthMebibytesMax);

  const countRows = async () => {
    const { rows } = await database.pool.query<{ count: number }>('select count(*)::int as count from quarantine');
    return rows[0]?.count ?? 0;
  };
  await until('the quarantine trimmed to its size', async () => (await countRows()) === rowsMax);
  const { rows } = await database.pool.query<{ topic: string; kept: number; payload_bytes: number }>(
    'select topic, length(payload) as kept, payload_bytes from quarantine order by id',
  );
  const expected = Array.from({ length: rowsMax }, (_, index) => ({
    topic: `/logout/garbage-${messages - rowsMax + index + 1}`,
    kept: 1_024,
    payload_bytes: payloadBytes,
  }));
  expect(rows).toEqual(expected);
  const quarantined = await countedWhen(willow, 'willow_quarantined_total', { reason: 'payload-too-large' }, messages);
  expect(quarantined).toBe(messages);
  const trimmed = await countedWhen(willow, 'willow_quarantine_trimmed_total', {}, messages - rowsMax);
  expect(trimmed).toBe(messages - rowsMax);
});
