// A flood of hostile messages through a real Mosquitto into a real Willow, with healthy users who come and go in the middle of it: what it
// did to the memory, to the quarantine and to them, and whether every message was counted once.

import { connectAsync, type MqttClient } from 'mqtt';
import pg from 'pg';
import { inventHostile } from './hostile-messages.ts';
import { startMosquitto } from './mosquitto.ts';
import { chanceOf } from './storm.ts';
import { until } from './until.ts';
import { startWillow, type Willow } from './willow.ts';

export type Flood = {
  readonly databaseUrl: string;
  readonly messages: number;
  /** Is told now and then how far it is. */
  readonly onPoured?: (messages: number) => void;
};

export type Aftermath = {
  readonly published: number;
  readonly messages: number;
  readonly signals: number;
  readonly quarantined: number;
  readonly reasons: readonly string[];
  /** Of the process of Willow, after each tenth of the flood. */
  readonly residentMebibytes: readonly number[];
  readonly quarantineRows: number;
  readonly quarantineMebibytes: number;
  readonly healthyUsers: number;
  /** Those of whom exactly their own story was announced. */
  readonly healthyTold: number;
  /** From the publication of a healthy birth, in the middle of the flood, to the answer that he is online; the longest. */
  readonly healthyMsMax: number;
  readonly linksLost: number;
  readonly seconds: number;
};

export const rowsMax = 2_000;
/** By then caches, pools and heaps have their size. */
export const warmUpMessages = 100_000;
const growthMebibytesMax = 64;
const quarantineMebibytesMax = 16;
const atOnce = 500;
const tenths = 10;
const story = 'session.started user.online session.ended user.offline';

export async function pourFlood({ databaseUrl, messages, onPoured }: Flood): Promise<Aftermath> {
  const chance = chanceOf('hostile flood');
  await using mosquitto = await startMosquitto({ inflightMax: 1_000 });
  await using willow = await startWillow({
    MQTT_URL: mosquitto.url,
    DATABASE_URL: databaseUrl,
    QUARANTINE_ROWS_MAX: String(rowsMax),
    GRACE_MS: '0',
    LOG_LEVEL: 'info',
  });
  await willow.logged('link.up');
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  const client = await connectAsync(mosquitto.url, { reconnectPeriod: 0 });
  const startedAtMs = performance.now();
  const poured = { published: 0, healthyUsers: 0, healthyMsMax: 0 };
  const residentMebibytes: number[] = [];
  try {
    for (let tenth = 0; tenth < tenths; tenth += 1) {
      for (let left = messages / tenths; left > 0; left -= atOnce) {
        await publishAll(
          client,
          Array.from({ length: Math.min(atOnce, left) }, () => inventHostile(chance)),
        );
        poured.published += Math.min(atOnce, left);
        if (chance.isIn(0.05)) await liveHealthily(client, willow, poured);
      }
      await liveHealthily(client, willow, poured);
      onPoured?.(poured.published);
      residentMebibytes.push((await willow.metric('process_resident_memory_bytes')) / 1024 / 1024);
    }
    const seconds = (performance.now() - startedAtMs) / 1_000;
    const counted = await countsOf(willow, poured.published);
    const quarantine = await untilTrimmed(pool);
    const healthyTold = await toldOf(pool);
    const linksLost = willow.log().filter(({ event }) => event === 'link.down').length;
    return { ...poured, ...counted, ...quarantine, healthyTold, residentMebibytes, linksLost, seconds };
  } finally {
    await client.endAsync(true);
    await pool.end();
  }
}

/** What must not be, in a sentence each. */
export function harmOf(aftermath: Aftermath): readonly string[] {
  const { published, messages, signals, quarantined, linksLost } = aftermath;
  const growth = growthOf(aftermath);
  const harm: [boolean, string][] = [
    [messages !== published, `${published} messages were published and ${messages} settled`],
    [signals + quarantined !== messages, `of ${messages} messages ${signals} + ${quarantined} have an outcome`],
    [
      growth > growthMebibytesMax,
      `the memory grew by ${growth.toFixed(0)} MiB after the first ${warmUpMessages} messages`,
    ],
    [aftermath.quarantineRows > rowsMax, `${aftermath.quarantineRows} rows are in the quarantine`],
    [
      aftermath.quarantineMebibytes > quarantineMebibytesMax,
      `${aftermath.quarantineMebibytes} MiB are in the quarantine`,
    ],
    [
      aftermath.healthyTold !== aftermath.healthyUsers,
      `of ${aftermath.healthyUsers} healthy users the story of ${aftermath.healthyTold} was told`,
    ],
    [linksLost > 0, `the link to the broker was lost ${linksLost} times`],
  ];
  return harm.filter(([isDone]) => isDone).map(([, sentence]) => sentence);
}

/** What the process took more at the end than when it was warm, in MiB. */
export function growthOf({ residentMebibytes, published }: Aftermath): number {
  const warm = residentMebibytes[Math.ceil((warmUpMessages / published) * tenths) - 1] ?? Number.NaN;
  return (residentMebibytes.at(-1) ?? Number.NaN) - warm;
}

async function publishAll(client: MqttClient, messages: readonly { topic: string; payload: Buffer }[]): Promise<void> {
  await Promise.all(messages.map(({ topic, payload }) => client.publishAsync(topic, payload, { qos: 1 })));
}

/** Somebody comes online behind all that was poured so far, is seen, and says goodbye. */
async function liveHealthily(
  client: MqttClient,
  willow: Willow,
  poured: { published: number; healthyUsers: number; healthyMsMax: number },
): Promise<void> {
  poured.healthyUsers += 1;
  const userId = `healthy-${poured.healthyUsers}`;
  const identity = { userId, sessionId: 'phone', epoch: 1 };
  const startedAtMs = performance.now();
  await publishAll(client, [{ topic: `/login/${userId}`, payload: Buffer.from(JSON.stringify(identity)) }]);
  await willow.presenceWhen(userId, ({ status }) => status === 'online');
  poured.healthyMsMax = Math.max(poured.healthyMsMax, performance.now() - startedAtMs);
  const goodbye = JSON.stringify({ ...identity, reason: 'logout' });
  await publishAll(client, [{ topic: `/logout/${userId}`, payload: Buffer.from(goodbye) }]);
  await willow.presenceWhen(userId, ({ status }) => status === 'offline');
  poured.published += 2;
}

async function countsOf(willow: Willow, published: number) {
  // A batch is counted a moment after it is visible.
  const messages = await until('all to be counted', async () => {
    const count = await willow.metric('willow_messages_total');
    return count >= published && count;
  });
  const text = await (await fetch(`${willow.http}/metrics`)).text();
  const reasons = [...text.matchAll(/^willow_quarantined_total\{reason="([a-z0-9-]+)"\} (\d+)$/gmu)];
  return {
    messages,
    signals: await willow.metric('willow_signals_total'),
    quarantined: await willow.metric('willow_quarantined_total'),
    reasons: reasons.filter(([, , count]) => count !== '0').map(([, reason = '']) => reason),
  };
}

async function untilTrimmed(pool: pg.Pool) {
  type Kept = { rows: number; bytes: number };
  const text = `select count(*)::int as rows, coalesce(sum(length(payload) + length(topic)), 0)::float8 as bytes from quarantine`;
  const kept = await until('the quarantine to be trimmed', async () => {
    const { rows } = await pool.query<Kept>(text);
    return (rows[0]?.rows ?? 0) <= rowsMax && rows[0];
  });
  return { quarantineRows: kept.rows, quarantineMebibytes: kept.bytes / 1024 / 1024 };
}

async function toldOf(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ told: number }>(
    `select count(*)::int as told from (
       select string_agg(type::text, ' ' order by sequence) as story from events
       where user_id like 'healthy-%' group by user_id) as stories
     where story = $1`,
    [story],
  );
  return rows[0]?.told ?? 0;
}
