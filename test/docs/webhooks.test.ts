// docs/webhooks.md and the code agree: what is sent is what the page shows, to the byte, and the numbers that it names are those that hold.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { attemptsKeptMax } from '../../src/app-lanes.ts';
import {
  attemptOf,
  failingEndpointMsMax,
  failingEventMsMax,
  refusedTriesMax,
  retryScheduleMs,
} from '../../src/core/verdict.ts';
import { type WireEvent, webhookBodies } from '../../src/core/wire-event.ts';
import { newWebhook } from '../../src/http/webhook-bodies.ts';
import { parseSettings } from '../../src/settings.ts';
import { endpointsMax, rotationMs } from '../../src/store/endpoints.ts';
import { answerBytesMax } from '../../src/webhooks/exchange.ts';
import { type LogEvent, messageOf, testMessage } from '../../src/webhooks/message.ts';
import { sendTimeouts } from '../../src/webhooks/send.ts';
import { parseNetworks, registrationProblem } from '../../src/webhooks/target-guard.ts';
import { documented } from '../support/documented.ts';
import { everyMetric } from '../support/every-metric.ts';

const page = readFileSync(new URL('../../docs/webhooks.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```json (.+)\n([^`]*)^```$/gm)].map(
  ([, type = '', text = '']) => [type, text] as const,
);

function logged({ at, ...event }: WireEvent): LogEvent {
  return { reason: null, ...event, atMs: Date.parse(at) } as LogEvent;
}

describe('the examples', () => {
  test('show every type of body once, and none that is made up', () => {
    expect(blocks.map(([type]) => type).toSorted()).toEqual(Object.keys(webhookBodies).toSorted());
  });

  test.each(blocks)('%s has the form that is sent, nothing left out and nothing added', (type, text) => {
    const example: unknown = JSON.parse(text);
    expect(webhookBodies[type as keyof typeof webhookBodies].parse(example)).toEqual(example);
  });

  test.each(blocks)('%s is what such a thing is sent as', (type, text) => {
    const example = webhookBodies[type as keyof typeof webhookBodies].parse(JSON.parse(text));
    const sent = () => {
      if (example.type === 'batch') return messageOf('whe_1', example.data.events.map(logged));
      if (example.type !== 'webhook.test') return messageOf('whe_1', [logged(example.data)]);
      return testMessage(example.data.endpointId, 'random', Date.parse(example.timestamp));
    };
    expect(sent().body).toBe(JSON.stringify(JSON.parse(text)));
  });
});

test('with the settings that the README names for it, a receiver on the same machine can be registered', () => {
  const command = documented('README.md', 'sh', 'A receiver on your own machine').trim();
  const assignments = [...command.matchAll(/(\w+)=(\S+)/g)].map(([, name = '', value = '']): [string, string] => [
    name,
    value,
  ]);
  const { WEBHOOK_ALLOW_HTTP: allowHttp, WEBHOOK_ALLOW_NETWORKS: text } = parseSettings(
    Object.fromEntries(assignments) as Record<string, string>,
    () => '',
  );
  const parsed = parseNetworks((text ?? []).join(','));
  const url = /register `(http:[^`]+)`/.exec(readFileSync(new URL('../../README.md', import.meta.url), 'utf8'))?.[1];
  const allowNetworks = parsed.kind === 'networks' ? parsed.networks : [];
  expect(registrationProblem(url ?? '', { allowHttp: false, allowNetworks: [] })).not.toBeNull();
  expect(registrationProblem(url ?? '', { allowHttp, allowNetworks })).toBeNull();
});

test('answers mean what the table says', () => {
  const kindOf = (status: number) => attemptOf(status, null).kind;
  const [, table = ''] = page.split('\n## What an answer means\n');
  const refusals = /^\| ((?:\d{3}, )+\d{3}) /m.exec(table)?.[1]?.split(', ').map(Number) ?? [];
  for (let status = 200; status <= 599; status += 1) {
    const refused = refusals.includes(status) ? 'refused' : 'failed';
    expect(kindOf(status), String(status)).toBe(status <= 299 ? 'delivered' : status === 410 ? 'gone' : refused);
  }
});

test('the numbers are those that hold', () => {
  const [tries, schedule, timeouts] = [
    `${['one', 'two', 'three'][refusedTriesMax - 2]} more tries`,
    retryScheduleMs.map((ms) => (ms < 60_000 ? `${ms / 1_000} s` : `${ms / 60_000} min`)).join(', '),
    `An answer has ${sendTimeouts.answerMs / 1_000} seconds from the first step to its last byte, ${sendTimeouts.connectMs / 1_000} of them`,
  ];
  const accepts = (field: 'lanes' | 'maxBatch', value: number) =>
    newWebhook(() => null).safeParse({ url: 'https://example.com', [field]: value }).success;
  const largest = (field: 'lanes' | 'maxBatch', ...candidates: readonly number[]) =>
    candidates.filter((value) => accepts(field, value)).at(-1);
  const lanes = newWebhook(() => null).parse({ url: 'https://example.com' }).lanes;
  const text = page.replaceAll(/\s+/g, ' ');
  for (const said of [
    `newest ${attemptsKeptMax.toLocaleString('en')} that were delivered`,
    tries,
    schedule,
    timeouts,
    `${answerBytesMax / 1_024} KiB of it are read`,
    `failed for ${failingEventMsMax / 3_600_000} hours`,
    `${['four', 'five', 'six'][failingEndpointMsMax / 86_400_000 - 4]} days of tries have all failed`,
    `for ${rotationMs / 3_600_000} hours, each request is signed`,
    `| endpoints | ${endpointsMax.toLocaleString('en')} |`,
    `1 to ${largest('lanes', 63, 64, 65)}, ${lanes} unless said`,
    `1 to ${largest('maxBatch', 999, 1_000, 1_001)?.toLocaleString('en')} |`,
  ]) {
    expect(text, said).toContain(said);
  }
});

test('the metrics that it names are there', async () => {
  const names = (await everyMetric()).map(({ name }) => name);
  const named = page.match(/willow_\w+/g) ?? [];
  expect(named.length).toBeGreaterThan(0);
  for (const name of named) expect(names).toContain(name);
});
