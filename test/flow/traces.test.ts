// One will, followed from the broker to the 2xx of a receiver, across processes; and what it does to the service when nobody takes the traces.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMortal } from '../support/mortal.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { openCollector, type Span } from '../support/otlp.ts';
import { openReceiver } from '../support/receiver.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { openVoice } from '../support/voice.ts';
import { allowLoopback, call, subscribe } from '../support/webhooks.ts';
import { startWillow } from '../support/willow.ts';

const userId = 'a-user-to-look-for';
const identity = { userId, sessionId: 'phone', epoch: 7 };

const traceOf = (spans: readonly Span[], traceId: string) => spans.filter((span) => span.traceId === traceId);

test('a client killed is one trace, from the receipt of its will over the grace to the 2xx, whichever processes did it', async () => {
  await using opened = new AsyncDisposableStack();
  const collector = opened.use(await openCollector());
  const mosquitto = opened.use(await startMosquitto());
  const database = opened.use(await createDatabase());
  const receiver = opened.use(await openReceiver());
  const graceMs = 700;
  const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`, OTEL_EXPORTER_OTLP_HEADERS: 'x-team=a%20b' };
  const ingest = opened.use(
    await startListening(mosquitto, database, {
      ...allowLoopback,
      ...tracing,
      GRACE_MS: String(graceMs),
      ROLES: 'ingest,api',
      OTEL_SERVICE_NAME: 'hears',
    }),
  );
  await subscribe(ingest, receiver, { events: ['session.ended'] });
  const settings = { ...allowLoopback, ...tracing, ROLES: 'webhooks', OTEL_SERVICE_NAME: 'tells' };
  opened.use(await startWillow({ ...settings, DATABASE_URL: database.url }));
  // The first try is refused: the trace has both.
  let tries = 0;
  receiver.answer((_delivery, response) => {
    tries += 1;
    if (tries > 1) return 204;
    response.writeHead(503, { 'retry-after': '1' }).end();
    return undefined;
  });

  const will = { topic: '/logout', payload: JSON.stringify(identity), qos: 1 } as const;
  const birth = { topic: '/login', payload: JSON.stringify(identity), qos: 1 } as const;
  const { port } = new URL(mosquitto.url);
  const device = opened.use(
    await startMortal('MQTT.js', { port: Number(port), version: 5, clientId: 'phone-1', will, birth }),
  );
  await ingest.presenceWhen(userId, ({ status }) => status === 'online');
  const killedAtMs = Date.now();
  await device.die();
  const [first, second] = await receiver.deliveredWhen(2);
  const spans = await collector.spansWhen((all) => all.some(({ name }) => name === 'deliver'));
  await collector.spansWhen((all) => all.some(({ name }) => name === 'grace'));

  const [, traceId = '', postId = ''] =
    /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(second?.headers['traceparent'] ?? '') ?? [];
  const trace = traceOf(collector.spans(), traceId).toSorted((a, b) => a.endMs - b.endMs);
  const named = (name: string) => trace.filter((span) => span.name === name);
  expect(named('will'), JSON.stringify(spans)).toHaveLength(1);
  const [root] = named('will') as [Span];
  expect(root).toMatchObject({ service: 'hears', parentId: '', attributes: { 'willow.signal.kind': 'will' } });
  // All of it hangs on the receipt, and is told by the process that did it.
  expect(trace.filter(({ parentId }) => parentId !== root.spanId)).toEqual([root]);
  expect(trace.map(({ service, name }) => `${service} ${name}`).toSorted()).toEqual([
    'hears decide and commit',
    'hears decide and commit',
    'hears grace',
    'hears will',
    'tells POST',
    'tells POST',
    'tells deliver',
    'tells log',
  ]);
  const [grace] = named('grace') as [Span];
  const [refused, taken] = named('POST') as [Span, Span];
  const [deliver] = named('deliver') as [Span];
  expect(root.startMs).toBeGreaterThanOrEqual(killedAtMs - 1);
  expect(grace.startMs).toBe(root.startMs);
  expect(grace.endMs - grace.startMs).toBeGreaterThanOrEqual(graceMs);
  expect(deliver.startMs).toBe(grace.endMs);
  expect(deliver.endMs).toBe(taken.endMs);
  expect(refused).toMatchObject({ isError: true, attributes: { 'http.response.status_code': 503 } });
  expect(taken).toMatchObject({ isError: false, spanId: postId, attributes: { 'http.response.status_code': 204 } });
  expect(taken.attributes['willow.webhook.id']).toBe(second?.id);
  expect(first?.headers['traceparent']).toBe(`00-${traceId}-${refused.spanId}-01`);
  // The birth is another trace.
  const [login] = collector.spans().filter(({ name }) => name === 'login');
  expect(login?.traceId).not.toBe(traceId);
  expect(collector.bytes().includes(userId)).toBe(false);
  expect(collector.headers()[0]).toMatchObject({ 'x-team': 'a b' });
});

test('bare ids are one trace too, or two with a link where no birth was heard; publishers are linked, and kicks are told', async () => {
  await using opened = new AsyncDisposableStack();
  const collector = opened.use(await openCollector());
  const mosquitto = opened.use(await startMosquitto());
  const database = opened.use(await createDatabase());
  const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, GRACE_MS: '300', TAKEOVER_WINDOW_MS: '0' };
  const willow = opened.use(await startListening(mosquitto, database, environment));
  const voice = opened.use(await openVoice(mosquitto.url, { protocolVersion: 5 }));
  const publisher = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8) };
  const userProperties = { traceparent: `00-${publisher.traceId}-${publisher.spanId}-01` };
  await voice.client.publishAsync('/login', 'bare', { qos: 1, properties: { userProperties } });
  await willow.presenceWhen('bare', ({ status }) => status === 'online');
  const nothing = { userProperties: { traceparent: '0'.repeat(55) } };
  await voice.client.publishAsync('/logout', 'bare', { qos: 1, properties: nothing });
  await willow.presenceWhen('bare', ({ status }) => status === 'offline');
  const spans = await collector.spansWhen((all) => all.some(({ name }) => name === 'grace'));
  const find = (name: string) => spans.find((span) => span.name === name);
  expect(find('login')?.links).toEqual([publisher]);
  expect(find('will')?.links).toEqual([]);
  // Its birth gave the session an epoch, though it had none itself.
  expect(find('grace')).toMatchObject({ traceId: find('will')?.traceId, parentId: find('will')?.spanId });

  // Nothing of this one was ever heard but its will: there is no epoch to find it by.
  await call(willow, 'POST', '/users/unheard/sessions', { sessionId: 'phone', live: true });
  await voice.say('/logout', 'unheard');
  const isLapse = ({ name }: Span) => name === 'lapse';
  const [lapse] = (await collector.spansWhen((all) => all.some(isLapse))).filter(isLapse);
  const lost = collector.spans().findLast(({ name }) => name === 'will');
  expect(lapse?.traceId).not.toBe(lost?.traceId);
  expect(lapse?.links).toEqual([{ traceId: lost?.traceId, spanId: lost?.spanId }]);

  await voice.say('/login', { userId: 'kicked', sessionId: 'phone', epoch: 1 });
  await willow.presenceWhen('kicked', ({ status }) => status === 'online');
  await fetch(`${willow.http}/users/kicked/sessions`, { method: 'DELETE' });
  const [kick] = (await collector.spansWhen((all) => all.some(({ name }) => name === 'kick'))).filter(
    ({ name }) => name === 'kick',
  );
  expect(kick?.parentId).toBe('');
});

test('with a collector that fails, is dead, or comes back nothing else changes, and where nothing is traced nothing is sent', async () => {
  await using opened = new AsyncDisposableStack();
  const collector = opened.use(await openCollector());
  const mosquitto = opened.use(await startMosquitto());
  const voice = opened.use(await openVoice(mosquitto.url));
  const receiver = opened.use(await openReceiver());
  collector.answer(500);
  const common = { ...allowLoopback, GRACE_MS: '0', MQTT_CLIENT_ID: 'traced' };
  const database = opened.use(await createDatabase());
  const willow = opened.use(
    await startListening(mosquitto, database, { ...common, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }),
  );
  await subscribe(willow, receiver);
  const comeAndGo = async (user: string, taken: number) => {
    await voice.say('/login', { userId: user, sessionId: 'phone', epoch: 1 });
    await voice.say('/logout', { userId: user, sessionId: 'phone', epoch: 1 });
    await receiver.takenWhen(taken);
  };
  await comeAndGo('ann', 4);
  await willow.logged('traces.unsent');
  collector.answer(200);
  await comeAndGo('bob', 8);
  await willow.logged('traces.sent-again');
  await collector.spansWhen((all) => all.some(({ name }) => name === 'will'));
  await collector[Symbol.asyncDispose]();
  await comeAndGo('cyd', 12);
  const stoppingAtMs = performance.now();
  expect(await willow.child.end('SIGTERM')).toBe(0);
  expect(performance.now() - stoppingAtMs).toBeLessThan(5_000);

  const untraced = opened.use(await startListening(mosquitto, database, common));
  await comeAndGo('dan', 16);
  expect(receiver.deliveries().at(-1)?.headers['traceparent']).toBeUndefined();
  expect(receiver.deliveries()[0]?.headers['traceparent']).toMatch(/^00-/);
  await until('all settled', async () => (await untraced.metric('willow_messages_total')) === 2);
});

test('a collector that is slow costs spans, and each of them is counted; it is said when that begins and when it is over', async () => {
  await using opened = new AsyncDisposableStack();
  const collector = opened.use(await openCollector());
  const mosquitto = opened.use(await startMosquitto());
  const voice = opened.use(await openVoice(mosquitto.url));
  const database = opened.use(await createDatabase());
  const willow = opened.use(
    await startListening(mosquitto, database, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, GRACE_MS: '0' }),
  );
  const counted = (outcome: string) => willow.metric('willow_trace_spans_total', { outcome });
  // Two spans each, and the queue has room for 4,096.
  const release = collector.hold();
  const births = 2_600;
  const said = Array.from({ length: births }, (_, index) => voice.say('/login', { userId: `user-${index}`, epoch: 1 }));
  await Promise.all(said);
  const dropped = await until('spans to be dropped', async () => (await counted('dropped')) || false);
  const unsent = await willow.logged('traces.unsent');
  expect(dropped).toBeGreaterThan(0);
  expect(unsent.level).toBe('warn');
  expect(Number(unsent['spans'])).toBeGreaterThan(0);
  release();
  const outcomes = async () => Promise.all(['sent', 'failed', 'dropped'].map(counted));
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  await until('every span to be counted', async () => sum(await outcomes()) === 2 * births);
  await voice.say('/login', { userId: 'afterwards', epoch: 1 });
  const again = await willow.logged('traces.sent-again');
  const [sent = 0, failed = 0, lost = 0] = await until('the last ones', async () => {
    const all = await outcomes();
    return sum(all) === 2 * births + 2 && all;
  });
  expect(again['unsent']).toBe(failed + lost);
  expect(collector.spans().length).toBeGreaterThanOrEqual(sent);
  expect(willow.log().filter(({ event }) => event === 'traces.unsent')).toHaveLength(1);
});

test('what is not sampled is not sent, and what is goes whole; its receiver is told either way', async () => {
  await using opened = new AsyncDisposableStack();
  const collector = opened.use(await openCollector());
  const mosquitto = opened.use(await startMosquitto());
  const voice = opened.use(await openVoice(mosquitto.url));
  const receiver = opened.use(await openReceiver());
  const database = opened.use(await createDatabase());
  const sampled = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: '0.5' };
  const willow = opened.use(await startListening(mosquitto, database, { ...allowLoopback, ...sampled, GRACE_MS: '0' }));
  await subscribe(willow, receiver, { events: ['session.started'] });
  const births = 40;
  for (let index = 0; index < births; index += 1) await voice.say('/login', { userId: `user-${index}`, epoch: 1 });
  const deliveries = await receiver.deliveredWhen(births);
  const told = deliveries.map(
    ({ headers }) => /^00-([0-9a-f]{32})-[0-9a-f]{16}-(0[01])$/.exec(headers['traceparent'] ?? '') ?? [],
  );
  const of = (flags: string) => told.flatMap(([, traceId = '', own]) => (own === flags ? [traceId] : []));
  expect(of('00').length).toBeGreaterThan(0);
  expect(of('01').length).toBeGreaterThan(0);
  expect(new Set([...of('00'), ...of('01')]).size).toBe(births);
  const whole = ['POST', 'decide and commit', 'deliver', 'log', 'login'];
  const spans = await collector.spansWhen((all) => all.length >= whole.length * of('01').length);
  for (const traceId of of('01')) {
    const names = traceOf(spans, traceId).map(({ name }) => name);
    expect(names.toSorted()).toEqual(whole);
  }
  expect(spans).toHaveLength(whole.length * of('01').length);
});
