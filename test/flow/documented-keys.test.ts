// The exchange of a key that docs/http.md offers, and the key that the README makes, as they stand there.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { documented } from '../support/documented.ts';
import { adminKey, bearer, makeKey } from '../support/keys.ts';
import { startChild } from '../support/process.ts';
import { startWillow } from '../support/willow.ts';

test('the documented commands make a key, show when the first was used, and remove that', async () => {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const willow = stack.use(await startWillow({ DATABASE_URL: database.url, ROLES: 'api', API_KEY: adminKey }));
  const first = await makeKey(willow, ['presence:read']);
  const home = await mkdtemp(join(tmpdir(), 'willow-keys-'));
  stack.defer(() => rm(home, { recursive: true }));
  await writeFile(
    join(home, '.curlrc'),
    `connect-to = "localhost:8080:${new URL(willow.http).host}"\nwrite-out = "\\n"\n`,
  );
  const exchange = documented('docs/http.md', 'sh', '## Exchanging a key');
  expect(exchange).toContain('1f0c8e5a9b3d7246');
  const script = [documented('README.md', 'sh', '## Keys'), exchange.replaceAll('1f0c8e5a9b3d7246', first.id)].join(
    '\n',
  );
  const env = { PATH: process.env['PATH'], CURL_HOME: home, HOME: home, API_KEY: adminKey };
  const shell = stack.use(await startChild('bash', ['-ec', script], { env }));
  expect(await shell.exited).toBe(0);
  const answers = shell.lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { key?: string });
  expect(answers).toMatchObject([
    { name: 'billing', scopes: ['presence:read', 'events:read'] },
    { name: 'billing, the second', scopes: ['presence:read', 'events:read'], expiresAt: '2099-01-01T00:00:00.000Z' },
    { id: first.id, lastUsedAt: null },
  ]);
  const statusOf = async (key = '') =>
    (await fetch(`${willow.http}/users/42/presence`, { headers: bearer(key) })).status;
  expect(await Promise.all([statusOf(answers[0]?.key), statusOf(answers[1]?.key), statusOf(first.key)])).toEqual([
    200, 200, 401,
  ]);
});
