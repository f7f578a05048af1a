import { describe, expect, test } from 'vitest';
import { expectField, remembering, send, wanted } from './hook-calls.ts';
import { expectProblem, serve } from './serve.ts';

const badUrls: Record<string, unknown> = {
  'a user name': 'https://user@example.com/',
  'a password': 'https://:secret@example.com/',
  'another scheme': 'ftp://example.com/',
  'plain http': 'http://example.com/',
  'no scheme': 'example.com/hook',
  'javascript:': 'javascript:alert(1)',
  'file:': 'file:///etc/passwd',
  'port 0': 'https://example.com:0/',
  'port 99999': 'https://example.com:99999/',
  'no host': 'https://',
  'a fragment': 'https://example.com/#a',
  'an address that may not be called': 'https://127.0.0.1/',
  'that address as a number': 'https://2130706433/',
  'that address in full-width digits': 'https://１２７.0.0.1/',
  'a private address': 'https://10.1.2.3/',
  'a name of this machine': 'https://hooks.localhost/',
  'the address of the metadata of a cloud': 'https://169.254.169.254/latest',
  'an IPv6 address of this machine': 'https://[::1]/',
  'an IPv4 address in an IPv6 one': 'https://[::ffff:127.0.0.1]/',
  'white space': ' https://example.com/',
  'a line break': 'https://example.com/\n',
  'U+0000': 'https://example.com/\u0000',
  '2,049 characters': `https://example.com/${'x'.repeat(2_029)}`,
  '2,048 that are more when encoded': `https://example.com/${'é'.repeat(1_000)}`,
  '100 KB': `https://example.com/${'x'.repeat(100_000)}`,
  'a number': 42,
  null: null,
  'a list': ['https://example.com/'],
  'an empty text': '',
};

const badFields: readonly (readonly [body: Record<string, unknown>, name: string])[] = [
  ...[0, 65, -1, 1.5, '8', null, true].map((lanes) => [{ lanes }, 'lanes'] as const),
  ...[0, 1_001, 2.5, '10', null].map((maxBatch) => [{ maxBatch }, 'maxBatch'] as const),
  [{ description: 'x'.repeat(257) }, 'description'],
  [{ description: 'a\u0000b' }, 'description'],
  [{ description: '\ud800' }, 'description'],
  [{ description: 5 }, 'description'],
  [{ events: [] }, 'events'],
  [{ events: 'user.offline' }, 'events'],
  [{ events: ['user.gone'] }, 'events/0'],
  [{ events: ['user.offline', 'USER.ONLINE'] }, 'events/1'],
  [{ events: Array.from({ length: 5 }, () => 'user.offline') }, 'events'],
  ...['false', 0, null].map((enabled) => [{ enabled }, 'enabled'] as const),
  [{ more: 1 }, 'more'],
  [{ secret: 'whsec_mine' }, 'secret'],
];

const json = { 'content-type': 'application/json' };

describe('what cannot be kept or called is 422 and named, when it is made and when it is changed', () => {
  test.each(Object.entries(badUrls))('a URL with %s', async (_name, url) => {
    const { asked, webhooks } = remembering();
    await using served = await serve({ webhooks });
    const problem = expectField(await send(served, 'POST', '/webhooks', { url }), 'url');
    expect(JSON.stringify(problem)).not.toContain('secret@');
    expectField(await send(served, 'PATCH', '/webhooks/whe_1', { url }), 'url');
    expect(asked).toEqual([]);
  });

  test('and where a setting would allow it, that is named', async () => {
    await using served = await serve();
    const detailOf = async (url: string) =>
      expectField(await send(served, 'POST', '/webhooks', { url }), 'url').errors?.[0]?.detail;
    expect(await detailOf('http://example.com/')).toContain('WEBHOOK_ALLOW_HTTP');
    for (const url of ['https://10.1.2.3/', 'https://localhost/']) {
      expect(await detailOf(url)).toContain('WEBHOOK_ALLOW_NETWORKS');
    }
  });

  test.each(badFields)('%j', async (field, name) => {
    const { asked, webhooks } = remembering();
    await using served = await serve({ webhooks });
    expectField(await send(served, 'POST', '/webhooks', { url: wanted.url, ...field }), name);
    expectField(await send(served, 'PATCH', '/webhooks/whe_1', field), name);
    expect(asked).toEqual([]);
  });

  test.each([-1, 0.5, 2 ** 53, '118', true])('after %j', async (after) => {
    await using served = await serve();
    expectField(await send(served, 'POST', '/webhooks', { url: wanted.url, after }), 'after');
    expectField(await send(served, 'POST', '/webhooks/whe_1/replay', { after }), 'after');
  });

  test('all that is wrong is said at once', async () => {
    await using served = await serve();
    const answer = await send(served, 'POST', '/webhooks', { url: 'x', lanes: 0, a: 1, b: 2 });
    const names = expectProblem(answer, 422, 'bad-body').errors?.map(({ name }) => name);
    expect(names).toEqual(['url', 'lanes', 'a', 'b']);
  });

  test.each([undefined, null, [], 'https://example.com', 5])('no object: %j', async (body) => {
    await using served = await serve();
    expectField(await send(served, 'POST', '/webhooks', body), '');
    expectField(await send(served, 'PATCH', '/webhooks/whe_1', body), '');
    expectField(await send(served, 'POST', '/webhooks/whe_1/replay', body), '');
  });

  test('what is no JSON stays 400', async () => {
    await using served = await serve();
    const call = { method: 'POST', path: '/webhooks', headers: json, body: '{"url":' };
    expectProblem(await served.call(call), 400, 'bad-request');
  });
});
