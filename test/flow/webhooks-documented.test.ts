// The receiver of docs/webhooks.md, as it stands there, takes what Willow really sends, and nothing else.

import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { documented } from '../support/documented.ts';
import { findFreePort } from '../support/free-port.ts';
import { startChild } from '../support/process.ts';
import { until } from '../support/until.ts';
import { attemptsWhen, call, headOf, playWebhooks, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();

test('the documented receiver takes events, batches and tests, drops repeats, and says 401 to anybody else', async () => {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'willow-receiver-'));
  stack.defer(() => rm(directory, { recursive: true }));
  await symlink(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(directory, 'node_modules'));
  await writeFile(join(directory, 'receiver.mjs'), documented('docs/webhooks.md', 'js'));

  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}/`;
  const after = await headOf(play.stage);
  // The steps of the page: made paused, it is sent nothing before the receiver has the secret.
  const id = await play.hook({ url, lanes: 1, enabled: false });
  await play.login('early');
  const env = { PATH: process.env['PATH'], WEBHOOK_SECRET: play.secretOf(id), PORT: String(port) };
  const receiver = stack.use(await startChild(process.execPath, [join(directory, 'receiver.mjs')], { env }));
  const forgery = { method: 'POST', body: '{"type":"user.offline","data":{"userId":"ann","sequence":9}}' };
  // Nobody can connect before it listens.
  await until('the receiver rejects a forgery', async () => {
    const response = await fetch(url, forgery).catch(() => null);
    return response?.status === 401;
  });
  expect(await call(play.willow, 'POST', `/webhooks/${id}/test`)).toMatchObject({ body: { outcome: 'delivered' } });
  await play.willow.presenceWhen('early', ({ status }) => status === 'online');
  expect(await webhookOf(play.willow, id)).toMatchObject({
    disabledReason: 'paused',
    lag: { position: after, events: 2 },
  });
  expect(receiver.lines).toEqual([]);
  await call(play.willow, 'POST', `/webhooks/${id}/enable`);
  const early = ['early 1 session.started ', 'early 2 user.online '];
  await receiver.line((line) => line === early.at(-1), 'early is online');

  await play.login('ann');
  await play.will('ann');
  const lines = ['ann 1 session.started ', 'ann 2 user.online ', 'ann 3 session.ended will', 'ann 4 user.offline will'];
  await receiver.line((line) => line === lines.at(-1), 'ann is offline');
  await attemptsWhen(play.willow, id, 6);

  await call(play.willow, 'PATCH', `/webhooks/${id}`, { maxBatch: 100 });
  await call(play.willow, 'POST', `/webhooks/${id}/replay`, { after });
  await play.login('bob');
  await receiver.line((line) => line === 'bob 2 user.online ', 'bob is online');
  expect(receiver.lines).toEqual([...early, ...lines, 'bob 1 session.started ', 'bob 2 user.online ']);
  const attempts = await attemptsWhen(play.willow, id, 7);
  expect(attempts.some(({ count }) => count > 1)).toBe(true);
  expect(new Set(attempts.map(({ outcome }) => outcome))).toEqual(new Set(['delivered']));
});
