// Ten thousand clients that are slow in every way there is, and one that is not.

import { percentile } from '../bench/stats.ts';
import { askAgainAndAgain, type Waited } from '../support/healthy-client.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startPostgres } from '../support/postgres.ts';
import { openFilesOf } from '../support/process.ts';
import { openSlowCrowd } from '../support/slow-clients.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';
import type { Part } from './part.ts';

const path = '/users/ada/presence';
const asked = 200;
const mebibyte = 1024 * 1024;
const slowestMsMax = 1_000;
/** The longest that any of them may stay: 72 s after its last request, and some time for Willow to look. */
const goneMsMax = 120_000;

const whole = (value: number) => Math.round(value).toLocaleString('en');
const ms = (value: number) => value.toLocaleString('en', { maximumFractionDigits: 1 });

export const slowClients: Part = {
  title: 'Ten thousand slow HTTP clients',
  run: async (isQuick) => {
    const clients = isQuick ? 1_000 : 10_000;
    await using postgres = await startPostgres();
    await using mosquitto = await startMosquitto();
    await using willow = await startWillow({
      DATABASE_URL: postgres.url,
      MQTT_URL: mosquitto.url,
      LOG_LEVEL: 'info',
    });
    await willow.logged('link.up');
    await askAgainAndAgain(willow.http, path, asked);
    const alone = await askAgainAndAgain(willow.http, path, asked);
    const filesBefore = openFilesOf(willow.child.pid);
    const residentBefore = await resident(willow);

    const fromMs = performance.now();
    using _crowd = await openSlowCrowd(Number(new URL(willow.http).port), clients);
    const among = await askAgainAndAgain(willow.http, path, asked);
    const heldWhileAsked = openFilesOf(willow.child.pid) - filesBefore;
    const residentWithin = await resident(willow);
    const isGone = () => openFilesOf(willow.child.pid) <= filesBefore + 10;
    await until('the end of every slow connection', isGone, goneMsMax);
    const goneMs = performance.now() - fromMs;

    const rows = [
      ['slow clients, in seven ways', whole(clients)],
      ['held by Willow when the healthy one had been answered', whole(heldWhileAsked)],
      [`the healthy one alone, ms (median / 99 % / longest of ${asked}, a connection each)`, spreadOf(alone)],
      ['the healthy one among them, ms', spreadOf(among)],
      ['memory before and with all of them, MiB', `${whole(residentBefore)} · ${whole(residentWithin)}`],
      ['the last of them was cut off after, s', whole(goneMs / 1_000)],
    ];
    const report = ['| | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
    return { report, harm: harmOf(among, heldWhileAsked, clients) };
  },
};

async function resident(willow: Willow): Promise<number> {
  return (await willow.metric('process_resident_memory_bytes')) / mebibyte;
}

function spreadOf(waited: readonly Waited[]): string {
  const all = waited.map((one) => one.ms);
  return `${ms(percentile(all, 0.5))} / ${ms(percentile(all, 0.99))} / ${ms(Math.max(...all))}`;
}

function harmOf(among: readonly Waited[], held: number, clients: number): string[] {
  const unanswered = among.filter(({ status }) => status !== 200).length;
  const slowestMs = Math.max(...among.map((one) => one.ms));
  return [
    ...(unanswered > 0 ? [`the healthy client was refused ${unanswered} times`] : []),
    ...(slowestMs > slowestMsMax ? [`the healthy client waited ${ms(slowestMs)} ms`] : []),
    ...(held < clients / 2 ? [`only ${held} slow clients were held: nothing was shown`] : []),
  ];
}
