// Every route, with more spoiled requests than a test has time for.

import { fuzzBytes, fuzzRoutes, routesToFuzz } from '../support/fuzz-run.ts';
import { prepareWorld } from '../support/fuzz-world.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startPostgres } from '../support/postgres.ts';
import { openVoice } from '../support/voice.ts';
import { startWillow } from '../support/willow.ts';
import type { Part } from './part.ts';

const apiKey = 'fuzz-key-0123456789abcdef';
const mebibyte = 1024 * 1024;

const whole = (value: number) => Math.round(value).toLocaleString('en');

export const fuzz: Part = {
  title: 'Every route, fuzzed',
  run: async (isQuick) => {
    await using postgres = await startPostgres();
    await using mosquitto = await startMosquitto();
    const environment = { DATABASE_URL: postgres.url, MQTT_URL: mosquitto.url, API_KEY: apiKey, LOG_LEVEL: 'info' };
    await using willow = await startWillow(environment);
    await willow.logged('link.up');
    await using voice = await openVoice(mosquitto.url);
    const world = await prepareWorld({ willow, voice }, apiKey);
    const routes = routesToFuzz();
    const resident = async () => {
      const answer = await fetch(`${willow.http}/metrics`, { headers: { authorization: `Bearer ${apiKey}` } });
      return Number(/^process_resident_memory_bytes (\S+)$/m.exec(await answer.text())?.[1] ?? 0) / mebibyte;
    };
    // What is compiled and pooled once is there before the memory is measured.
    await fuzzRoutes(willow.http, routes, world, { runsPerRoute: 100 });
    const before = await resident();
    const made = await fuzzRoutes(willow.http, routes, world, { runsPerRoute: isQuick ? 100 : 5_000 });
    const spoiled = await fuzzBytes(willow.http, routes, world, isQuick ? 1_000 : 50_000);
    const after = await resident();
    const failed = willow.log().filter(({ event, level }) => event === 'request.failed' || level === 'error');
    const statuses = [...made.statuses]
      .toSorted(([a], [b]) => a - b)
      .map(([status, count]) => `${status}: ${whole(count)}`);
    const rows = [
      ['routes, as the framework announces them', whole(routes.length)],
      ['requests made of their schemas and spoiled', whole(made.requests)],
      ['their answers', statuses.join(' · ')],
      ['requests with bytes changed, missing or repeated', whole(spoiled.requests)],
      ['defects, answers of no known kind, answers out of step', '0'],
      ['memory before and after, MiB', `${whole(before)} · ${whole(after)}`],
    ];
    const report = ['| | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
    return { report, harm: failed.map(({ event }) => `the log has ${event}`) };
  },
};
