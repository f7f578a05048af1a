// What a running Willow tells Prometheus: all that is documented, in a form that Prometheus' own tool has nothing against, and true.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { quarantineReasons } from '../../src/core/signal.ts';
import { everyMetric } from '../support/every-metric.ts';
import { promtool } from '../support/promtool.ts';
import { openSse } from '../support/sse.ts';
import { countedWhen } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { call, playWebhooks } from '../support/webhooks.ts';
import { startWillow } from '../support/willow.ts';

const play = playWebhooks();

const scrape = async () => (await fetch(`${play.willow.http}/metrics`)).text();

/** Of one that came, and vanished; once its end is delivered and counted. */
async function comeAndGo(userId: string): Promise<void> {
  await play.hook();
  await play.login(userId);
  await play.will(userId);
  await play.receiver.takenWhen(4);
}

test('Prometheus takes what is served as it is, and its linter has nothing against it', async () => {
  await comeAndGo('ann');
  const text = await scrape();
  expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, said: '' });
  // The judge is awake: a counter must be named like one.
  const misnamed = text.replaceAll('willow_messages_total', 'willow_messages');
  expect(promtool(['check', 'metrics'], misnamed).said).toContain('counter metrics should have "_total" suffix');
});

test('every metric that is documented is served, and nothing else is; none knows a user or a session', async () => {
  await comeAndGo('a-name-to-look-for');
  const text = await scrape();
  const served = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  expect(served.toSorted()).toEqual((await everyMetric()).map(({ name, type }) => `${name} ${type}`).toSorted());
  expect(text).not.toContain('a-name-to-look-for');
  expect(text).not.toContain('phone');
});

test('a request is counted once, by its route and how it ended, with the time that it took', async () => {
  const { willow } = play;
  const name = 'willow_http_request_seconds';
  const presence = { method: 'GET', route: '/users/:id/presence', status: '2xx' };
  const before = await willow.metric(`${name}_count`, presence);
  for (let call = 0; call < 3; call += 1) await willow.presence('somebody');
  expect(await countedWhen(willow, `${name}_count`, presence, before + 3)).toBe(before + 3);
  expect(await willow.metric(`${name}_bucket`, { ...presence, le: '+Inf' })).toBe(before + 3);
  const sum = await willow.metric(`${name}_sum`, presence);
  expect(sum).toBeGreaterThan(0);
  expect(sum).toBeLessThan(30);
  await call(willow, 'GET', '/users/somebody/events?limit=no');
  const bad = { route: '/users/:id/events', status: '4xx' };
  expect(await countedWhen(willow, `${name}_count`, bad, 1)).toBe(1);
  await call(willow, 'GET', '/no/such/route');
  await fetch(`${willow.http}/%zz`);
  await countedWhen(willow, `${name}_count`, { route: 'none', status: '4xx' }, 1);
  expect(await willow.metric(`${name}_sum`, { route: 'none' })).toBeLessThan(30);
});

test('from the receipt of a will to the 2xx of its receiver is a histogram, by the reason of the end', async () => {
  const { willow } = play;
  const name = 'willow_webhook_delivery_seconds_count';
  const [wills, beginnings] = await Promise.all(['will', 'none'].map((reason) => willow.metric(name, { reason })));
  await comeAndGo('bob');
  expect(await countedWhen(willow, name, { reason: 'will' }, (wills ?? 0) + 2)).toBe((wills ?? 0) + 2);
  expect(await willow.metric(name, { reason: 'none' })).toBe((beginnings ?? 0) + 2);
});

test('the process tells what it is, that it is well, and what its pools do', async () => {
  const { willow } = play;
  expect(await willow.metric('willow_build_info', { version: manifest.version })).toBe(1);
  await until('all checks to be well', async () => {
    const { checks } = (await willow.get<{ checks: Record<string, unknown> }>('/readyz')).body;
    const well = await Promise.all(Object.keys(checks).map((check) => willow.metric('willow_check_ok', { check })));
    return well.length > 0 && well.every((value) => value === 1);
  });
  for (const pool of ['ingest', 'api', 'retention', 'webhooks']) {
    const most = await willow.metric('willow_database_connections_max', { pool });
    const open = await willow.metric('willow_database_connections', { pool });
    expect(most).toBeGreaterThan(0);
    expect(open).toBeGreaterThan(0);
    expect(open).toBeLessThanOrEqual(most);
    expect(await willow.metric('willow_database_waiting', { pool })).toBe(0);
  }
  const busy = await willow.metric('willow_event_loop_active_seconds_total');
  expect(busy).toBeGreaterThan(0);
  const upSeconds = Date.now() / 1_000 - (await willow.metric('process_start_time_seconds'));
  expect(busy).toBeLessThan(upSeconds);
  // Each scrape begins them anew, so that one right behind another finds nothing measured.
  const lag = await until('a lag that was measured', async () => {
    const found = await willow.metric('nodejs_eventloop_lag_p50_seconds');
    return found > 0.001 && found;
  });
  expect(lag).toBeLessThan(1);
  expect(await willow.metric('willow_link_connections_total')).toBe(1);
  expect(await willow.metric('willow_link_gaps_total')).toBe(0);
});

test('every series of a counter is there before it has counted anything, so that an alert sees the first time too', async () => {
  await using fresh = await startWillow({ DATABASE_URL: play.stage.database.url, ROLES: 'api' });
  const text = await (await fetch(`${fresh.http}/metrics`)).text();
  const counters = (await everyMetric()).filter(
    ({ name, type, labels }) => type === 'counter' && labels.length > 0 && name.startsWith('willow_'),
  );
  const valuesOf = (name: string, labels: readonly string[] = []) =>
    [...text.matchAll(new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, 'gm'))]
      .filter(([, own = '']) => labels.every((label) => own.split(',').includes(label)))
      .map(([, , value]) => value);
  for (const { name } of counters) expect(new Set(valuesOf(name)), name).toEqual(new Set(['0']));
  const alerts = readFileSync(new URL('../../monitoring/alerts.yaml', import.meta.url), 'utf8');
  const named = [...alerts.matchAll(/(willow_\w+_total)\{([^}]*)\}/g)];
  expect(named.length).toBeGreaterThan(3);
  for (const [selector, name = '', labels = ''] of named) {
    const own = labels.split(',').filter((label) => !label.includes('!='));
    expect(valuesOf(name, own), selector).not.toEqual([]);
  }
  expect(valuesOf('willow_signals_total', ['kind="login"', 'outcome="stale"'])).toEqual(['0']);
  expect(valuesOf('willow_quarantined_total')).toHaveLength(quarantineReasons.length);
});

test('a stream is counted as a request when its answer begins, and not again when it ends', async () => {
  const { willow } = play;
  const name = 'willow_http_request_seconds';
  const streams = { method: 'GET', route: '/events/stream', status: '2xx' };
  const before = await willow.metric(`${name}_count`, streams);
  const stream = await openSse(`${willow.http}/events/stream`);
  expect(await countedWhen(willow, `${name}_count`, streams, before + 1)).toBe(before + 1);
  expect(await willow.metric(`${name}_sum`, streams)).toBeLessThan(5);
  await stream[Symbol.asyncDispose]();
  await until('the stream to be left', async () => (await willow.metric('willow_stream_readers')) === 0);
  expect(await willow.metric(`${name}_count`, streams)).toBe(before + 1);
});
