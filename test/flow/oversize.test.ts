import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { announcedWhen, countedWhen, settled, startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice, type Voice } from '../support/voice.ts';

/** Of payload alone: with its topic the packet is larger than Willow lets the broker send. */
const packetBytesMax = 1024 * 1024;
const environment = { GRACE_MS: '0' };
/** A discarded packet that kept its place in the broker's window would stop the link after so many. */
const inflightMax = 2;
const giants = 2 * inflightMax + 1;

/** Less than a test may take, so that what is missing is named. */
const waitMsMax = 20_000;

/** Each giant with a will right behind it. */
async function sayGiants(voice: Voice, userOf: (index: number) => string): Promise<void> {
  for (let index = 0; index < giants; index += 1) {
    await voice.say('/logout', new Uint8Array(packetBytesMax).fill(0x61));
    await voice.say('/logout', userOf(index));
  }
}

async function discarded(mosquitto: Mosquitto, count: number): Promise<void> {
  const ask = () =>
    mosquitto.child.lines.filter((line) => line.includes('Dropping too large outgoing PUBLISH for willow')).length >=
    count;
  await until(`${count} packets that the broker discards for being too large`, ask, waitMsMax);
}

test('a packet larger than Willow takes costs nothing but itself: what is said behind it is heard, on the same link', async () => {
  await using mosquitto = await startMosquitto({ inflightMax });
  await using database = await createDatabase();
  await using voice = await openVoice(mosquitto.url);
  const known = (index: number) => `known-${index}`;
  const queued = (index: number) => `queued-${index}`;
  {
    await using willow = await startListening(mosquitto, database, environment);
    expect(await willow.logged('link.up')).toMatchObject({ protocolVersion: 5 });
    await sayGiants(voice, known);
    await settled(willow, voice);
    await discarded(mosquitto, giants);
    for (let index = 0; index < giants; index += 1) await announcedWhen(willow, known(index), 2);
    // The wills, and what `settled` says; no giant, not even as something for the quarantine.
    expect(await countedWhen(willow, 'willow_messages_total', {}, giants + 1)).toBe(giants + 1);
    expect(await willow.metric('willow_quarantined_total')).toBe(0);
    expect(willow.log().filter(({ event }) => event === 'link.down')).toEqual([]);
    expect(await willow.child.end('SIGTERM')).toBe(0);
  }
  // The broker queues it, too, for a Willow that is away.
  await sayGiants(voice, queued);
  await using willow = await startListening(mosquitto, database, environment);
  expect(await willow.logged('link.up')).toMatchObject({ protocolVersion: 5, hasSession: true });
  await settled(willow, voice);
  await discarded(mosquitto, 2 * giants);
  for (let index = 0; index < giants; index += 1) await announcedWhen(willow, queued(index), 2);
  expect(await countedWhen(willow, 'willow_messages_total', {}, giants + 1)).toBe(giants + 1);
  expect(await willow.metric('willow_quarantined_total')).toBe(0);
  expect(willow.log().filter(({ event }) => event === 'link.down')).toEqual([]);
}, 120_000);
