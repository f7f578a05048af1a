// Bodies that are too large, of another type, or of no use.

import { expect, test } from 'vitest';
import { expectProblem, serve } from './serve.ts';

test('a body that is too large is 413, announced or not', async () => {
  await using served = await serve();
  const head =
    'DELETE /users/ada/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n';
  const announced = await served.raw(`${head}Content-Length: 65537\r\n\r\n${' '.repeat(65_537)}`);
  expect(expectProblem(announced, 413, 'body-too-large').detail).toBe('a body has at most 65536 bytes here');
  const chunk = `4001\r\n${'1'.repeat(0x4001)}\r\n`;
  const answer = await served.raw(`${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(4)}0\r\n\r\n`);
  expectProblem(answer, 413, 'body-too-large');
});

test('whoever is still sending a body that is far too large is told so, and the connection is not closed on them', async () => {
  await using served = await serve();
  const body = ' '.repeat(10_000_000);
  const sent = { method: 'DELETE', path: '/users/ada/sessions', headers: { 'content-type': 'application/json' }, body };
  const answer = await served.call(sent);
  expectProblem(answer, 413, 'body-too-large');
  expect(answer.headers.connection).not.toBe('close');
});

test('a body that is no JSON is 415, and 400 when it says that it is', async () => {
  await using served = await serve();
  const kick = { method: 'DELETE', path: '/users/ada/sessions' };
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'nonsense',
  ]) {
    const answer = await served.call({ ...kick, headers: { 'content-type': type }, body: 'x' });
    expectProblem(answer, 415, 'unsupported-media-type');
  }
  expectProblem(await served.call({ ...kick, body: 'x' }), 415, 'unsupported-media-type');
  for (const body of ['{', 'x', '{"__proto__":1}', '{"constructor":{"prototype":1}}', '\u0000']) {
    const answer = await served.call({ ...kick, headers: { 'content-type': 'application/json' }, body });
    expect(expectProblem(answer, 400, 'bad-request').detail).toBe('the body is not valid JSON');
  }
});

test('a body that nobody needs does no harm', async () => {
  await using served = await serve();
  const kick = { method: 'DELETE', path: '/users/ada/sessions', headers: { 'content-type': 'application/json' } };
  expect((await served.call(kick)).status).toBe(204);
  expect((await served.call({ ...kick, body: '{}' })).status).toBe(204);
  expect((await served.call({ path: '/users/ada/presence', body: 'x' })).status).toBe(200);
});
