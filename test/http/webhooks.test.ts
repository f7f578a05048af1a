import { describe, expect, test } from 'vitest';
import type { WebhookRefusal } from '../../src/http/routes/webhooks.ts';
import { atMs } from './ada.ts';
import { hooks } from './hook.ts';
import { expectField, remembering, send, wanted } from './hook-calls.ts';
import { expectProblem, serve } from './serve.ts';

describe('a webhook is made', () => {
  test('with a URL alone, and answered with its place and its secret', async () => {
    const { asked, webhooks } = remembering();
    await using served = await serve({ webhooks });
    const answer = await send(served, 'POST', '/webhooks', { url: wanted.url });
    expect(answer).toMatchObject({ status: 201, headers: { location: '/webhooks/whe_1' } });
    expect(JSON.parse(answer.body)).toMatchObject({ id: 'whe_1', status: 'enabled', secret: 'whsec_c2VjcmV0' });
    expect(asked).toEqual([wanted]);
    expect(served.logText()).not.toContain('whsec');
  });

  test('with everything that it may say', async () => {
    const { asked, webhooks } = remembering();
    await using served = await serve({ webhooks });
    const all = {
      url: 'https://hooks.example.com:8443/a?b=c',
      description: 'x'.repeat(256),
      events: ['user.offline', 'session.ended'],
      lanes: 64,
      maxBatch: 1_000,
      after: 0,
      enabled: false,
    };
    expect((await send(served, 'POST', '/webhooks', all)).status).toBe(201);
    expect(asked).toEqual([all]);
  });

  test('with the URL that is called in the end', async () => {
    const { asked, webhooks } = remembering();
    await using served = await serve({ webhooks });
    await send(served, 'POST', '/webhooks', { url: 'HTTPS://Bücher.example:443/ä' });
    expect(asked).toEqual([{ ...wanted, url: 'https://xn--bcher-kva.example/%C3%A4' }]);
  });
});

test('a change says only what is to be different', async () => {
  const { asked, webhooks } = remembering();
  await using served = await serve({ webhooks });
  for (const changes of [{}, { enabled: false }, { description: null, events: null }, { url: wanted.url, lanes: 1 }]) {
    expect((await send(served, 'PATCH', '/webhooks/whe_1', changes)).status).toBe(200);
    expect(asked.pop()).toEqual(['whe_1', changes]);
  }
  expectField(await send(served, 'PATCH', '/webhooks/whe_1', { enabled: 'no' }), 'enabled');
  expectField(await send(served, 'PATCH', '/webhooks/whe_1', { after: 0 }), 'after');
});

test('a replay begins behind a position or at a time, and not at both', async () => {
  const { asked, webhooks } = remembering();
  await using served = await serve({ webhooks });
  const replay = (body: unknown) => send(served, 'POST', '/webhooks/whe_1/replay', body);
  expect(JSON.parse((await replay({ after: 118 })).body)).toMatchObject({ id: 'whe_1' });
  await replay({ since: '2026-11-23T10:00:00Z' });
  await replay({ since: '2026-11-23T12:00:00.000+02:00' });
  expect(asked).toEqual([
    ['whe_1', { after: 118 }],
    ['whe_1', { sinceMs: atMs }],
    ['whe_1', { sinceMs: atMs }],
  ]);
  for (const both of [{}, { after: 1, since: '2026-11-23T10:00:00Z' }]) expectField(await replay(both), '');
  for (const since of ['yesterday', '2026-11-23', '2026-13-01T00:00:00Z', 1_795_421_999_000, '2026-11-23T10:00:00']) {
    expectField(await replay({ since }), 'since');
  }
});

test('a call that takes nothing takes {} too, and nothing else', async () => {
  await using served = await serve();
  for (const action of ['rotate', 'test', 'enable', 'parked/retry', 'parked/3/retry']) {
    const path = `/webhooks/whe_1/${action}`;
    for (const body of [undefined, {}]) expect((await send(served, 'POST', path, body)).status).toBeLessThan(300);
    expect((await served.call({ method: 'POST', path })).status).toBeLessThan(300);
    expectField(await send(served, 'POST', path, { now: true }), 'now');
  }
});

const refusals: readonly (readonly [refusal: WebhookRefusal, status: number, type: string])[] = [
  [{ kind: 'unknown' }, 404, 'unknown-webhook'],
  [{ kind: 'no-secret-key' }, 501, 'no-secret-key'],
  [{ kind: 'too-many', webhooksMax: 1_000 }, 409, 'too-many-webhooks'],
  [{ kind: 'ahead', head: 120 }, 422, 'bad-body'],
];

test.each(refusals)('a refusal is a problem of its own: %j', async (refusal, status, type) => {
  const refuse = async () => refusal;
  const webhooks = {
    ...hooks,
    create: refuse,
    change: refuse,
    rotate: refuse,
    enable: refuse,
    replay: refuse,
    test: refuse,
  };
  await using served = await serve({ webhooks });
  expectProblem(await send(served, 'POST', '/webhooks', { url: wanted.url }), status, type);
  expectProblem(await send(served, 'PATCH', '/webhooks/whe_1', {}), status, type);
  for (const action of ['rotate', 'enable', 'test']) {
    expectProblem(await send(served, 'POST', `/webhooks/whe_1/${action}`), status, type);
  }
  expectProblem(await send(served, 'POST', '/webhooks/whe_1/replay', { after: 1 }), status, type);
});

test('what the log no longer has is said with the place where it begins', async () => {
  const refuse = async () => ({ kind: 'gone', startsAfter: 500 }) as const;
  await using served = await serve({
    webhooks: { ...hooks, create: refuse, change: refuse, enable: refuse, replay: refuse },
  });
  const gone = [
    await send(served, 'POST', '/webhooks', { url: wanted.url, after: 1 }),
    await send(served, 'POST', '/webhooks/whe_1/replay', { after: 1 }),
  ];
  for (const answer of gone) expect(expectProblem(answer, 410, 'events-gone')).toMatchObject({ after: 500 });
  const left = [
    await send(served, 'POST', '/webhooks/whe_1/enable'),
    await send(served, 'PATCH', '/webhooks/whe_1', { enabled: true }),
  ];
  for (const answer of left) expect(expectProblem(answer, 409, 'webhook-left-behind')).toMatchObject({ after: 500 });
});

test('what is unknown is 404 everywhere, and an id that none can have is 400', async () => {
  await using served = await serve({
    webhooks: {
      ...hooks,
      get: async () => null,
      remove: async () => false,
      listAttempts: async () => null,
      listParked: async () => null,
      retryParked: async () => null,
      removeParked: async () => null,
    },
  });
  const calls = [
    ['GET', ''],
    ['DELETE', ''],
    ['GET', '/attempts'],
    ['GET', '/parked'],
    ['POST', '/parked/retry'],
    ['POST', '/parked/3/retry'],
    ['DELETE', '/parked/3'],
  ] as const;
  for (const [method, path] of calls) {
    expectProblem(await served.call({ method, path: `/webhooks/nobody${path}` }), 404, 'unknown-webhook');
    expectProblem(await served.call({ method, path: `/webhooks/%00${path}` }), 400, 'bad-input');
  }
});

test('one parked event is retried, or all of them', async () => {
  const { asked, webhooks } = remembering();
  await using served = await serve({ webhooks });
  const retry = (which: string) => send(served, 'POST', `/webhooks/whe_1/parked${which}/retry`);
  expect(await retry('')).toMatchObject({ status: 202, body: '{"retried":1}' });
  expect(await retry('/3')).toMatchObject({ status: 202, body: '{"retried":1}' });
  expectProblem(await retry('/4'), 404, 'unknown-parked');
  expect(asked).toEqual([
    ['whe_1', null],
    ['whe_1', 3],
    ['whe_1', 4],
  ]);
  for (const id of ['x', '-1', '1.5', '9999999999999999']) {
    const problem = expectProblem(await retry(`/${id}`), 400, 'bad-input');
    expect(problem.errors?.map(({ name }) => name)).toEqual(['parkedId']);
  }
});

test('one parked event is removed', async () => {
  const { asked, webhooks } = remembering();
  await using served = await serve({ webhooks });
  const remove = (which: string) => send(served, 'DELETE', `/webhooks/whe_1/parked/${which}`);
  expect(await remove('3')).toMatchObject({ status: 204, body: '' });
  expectProblem(await remove('4'), 404, 'unknown-parked');
  expectProblem(await remove('x'), 400, 'bad-input');
  expect(asked).toEqual([
    ['whe_1', 3],
    ['whe_1', 4],
  ]);
});

test('attempts are listed by their outcome, or all of them', async () => {
  const { asked, webhooks } = remembering();
  await using served = await serve({ webhooks });
  const list = (query: string) => served.call({ path: `/webhooks/whe_1/attempts${query}` });
  for (const outcome of ['delivered', 'refused', 'gone', 'failed']) {
    expect((await list(`?outcome=${outcome}&limit=5`)).status).toBe(200);
    expect(asked.pop()).toEqual(['whe_1', outcome]);
  }
  expect((await list('')).status).toBe(200);
  expect(asked).toEqual([['whe_1', null]]);
  for (const query of ['?outcome=', '?outcome=Failed', '?outcome=failed&outcome=gone']) {
    expectProblem(await list(query), 400, 'bad-input');
  }
});

test('a webhook shows these fields and no others, and no secret but when it is made or rotated', async () => {
  await using served = await serve();
  const shown =
    '{"id":"whe_1","url":"https://example.com/hook","description":"billing","events":["user.offline"],"lanes":8,"maxBatch":1,' +
    '"status":"enabled","disabledReason":null,"failingSince":null,"lastSuccessAt":"2026-11-23T10:00:00.000Z",' +
    '"previousSecretUntil":null,"lag":{"position":118,"head":120,"events":2},' +
    '"createdAt":"2026-11-23T09:59:59.000Z","updatedAt":"2026-11-23T09:59:59.500Z"';
  expect((await served.call({ path: '/webhooks/whe_1' })).body).toBe(`${shown}}`);
  expect((await send(served, 'PATCH', '/webhooks/whe_1', {})).body).toBe(`${shown}}`);
  expect((await send(served, 'POST', '/webhooks/whe_1/enable')).body).toBe(`${shown}}`);
  expect((await send(served, 'POST', '/webhooks/whe_1/rotate')).body).toBe(`${shown},"secret":"whsec_c2VjcmV0"}`);
});
