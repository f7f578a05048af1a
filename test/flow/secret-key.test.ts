import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createSealing } from '../../src/runtime/sealing.ts';
import { keysOf } from '../../src/runtime/secret-key.ts';
import { createEndpoint, rotateSecret } from '../../src/store/endpoints.ts';
import { getSigningEndpoint, openSecrets, resealSecrets } from '../../src/store/signing.ts';
import { createHome } from '../support/embedded.ts';
import { actor, openTables, wish } from '../support/endpoints.ts';
import { call } from '../support/http.ts';
import { startChild } from '../support/process.ts';
import { startWillow } from '../support/willow.ts';

type Made = { readonly id: string; readonly secret: string };

async function makeWebhook(http: string): Promise<Made> {
  const body = JSON.stringify({ url: 'https://example.com/hook' });
  const made = await call<Made>(`${http}/webhooks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  expect(made.status).toBe(201);
  return made.body;
}

test('with the embedded database a key is made once, for Willow alone to read, and found again by the next start', async () => {
  await using home = await createHome();
  const path = join(home.dataDir, 'secret-key');
  const environment = { DATA_DIR: home.dataDir, SECRET_KEY: '' };
  let made: Made;
  let key: string;
  {
    await using willow = await startWillow(environment);
    key = await readFile(path, 'utf8');
    expect(keysOf(key.trim())).toHaveLength(1);
    const { mode, uid } = await stat(path);
    expect(mode & 0o777).toBe(0o600);
    expect(uid).toBe(process.getuid?.());
    expect((await readdir(home.dataDir)).filter((name) => name.startsWith('secret-key'))).toEqual(['secret-key']);
    made = await makeWebhook(willow.http);
    expect(willow.child.lines.join('\n')).not.toContain(key.trim());
    expect(willow.child.lines.join('\n')).not.toContain(made.secret);
    expect(await willow.child.end('SIGTERM')).toBe(0);
  }
  await using again = await startWillow(environment);
  expect(await readFile(path, 'utf8')).toBe(key);
  expect((await call(`${again.http}/webhooks/${made.id}`)).status).toBe(200);
  await makeWebhook(again.http);
}, 120_000);

test('a kept key that is broken ends the start with one sentence, and is left as it is', async () => {
  await using home = await createHome();
  const path = join(home.dataDir, 'secret-key');
  {
    await using willow = await startWillow({ DATA_DIR: home.dataDir, SECRET_KEY: '' });
    expect(await willow.child.end('SIGTERM')).toBe(0);
  }
  await writeFile(path, 'half a k');
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, HTTP_PORT: '0', EMBEDDED_MQTT_PORT: '0', LOG_LEVEL: 'silent', DATA_DIR: home.dataDir };
  await using child = await startChild(process.execPath, ['src/main.ts'], { env });
  expect(await child.exited).toBe(1);
  expect(child.lines).toHaveLength(1);
  expect(child.lines[0]).toMatch(/^willow: .*secret-key holds no key \(32 bytes as base64url\): .*\.$/);
  expect(child.lines[0]).not.toContain('half a k');
  expect(await readFile(path, 'utf8')).toBe('half a k');
}, 120_000);

test('a secret that is in the settings is taken, and none is made', async () => {
  await using home = await createHome();
  await using willow = await startWillow({ DATA_DIR: home.dataDir });
  await makeWebhook(willow.http);
  expect(await readdir(home.dataDir)).not.toContain('secret-key');
}, 120_000);

test('no secret can be read from the tables, neither the one that is current nor the one before', async () => {
  await using tables = await openTables();
  const { pool } = tables;
  const sealing = createSealing([Buffer.alloc(32, 9)]);
  const made = await createEndpoint(pool, sealing, { ...wish, after: null, isEnabled: true }, actor);
  if (made.kind !== 'done') throw new Error('not made');
  const rotated = await rotateSecret(pool, sealing, made.endpoint.id, actor);
  if (rotated.kind !== 'done') throw new Error('not rotated');
  const { rows: names } = await pool.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public'`,
  );
  let dump = '';
  for (const { name } of names) {
    const { rows } = await pool.query<{ row: string }>(`select t::text as row from "${name}" t`);
    dump += rows.map(({ row }) => row).join('\n');
  }
  expect(dump).toContain(made.endpoint.id);
  for (const secret of [made.secret, rotated.secret, Buffer.alloc(32, 9)]) {
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const) {
      expect(dump.includes(secret.toString(encoding)), encoding).toBe(false);
    }
  }
});

test('a new key takes over what an older one sealed, which can then go; what no key opens is named', async () => {
  await using tables = await openTables();
  const { pool } = tables;
  const [older, newer, lost] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [Buffer, Buffer, Buffer];
  const make = async (key: Buffer) => {
    const made = await createEndpoint(pool, createSealing([key]), { ...wish, after: null, isEnabled: true }, actor);
    if (made.kind !== 'done') throw new Error('not made');
    return { id: made.endpoint.id, secret: made.secret };
  };
  const old = await make(older);
  const rotated = await rotateSecret(pool, createSealing([older]), old.id, actor);
  const unreadable = await make(lost);
  await make(newer);
  const both = createSealing([newer, older]);
  expect(await resealSecrets(pool, both)).toEqual({ resealed: 1, unreadable: [unreadable.id] });
  expect(await resealSecrets(pool, both)).toEqual({ resealed: 0, unreadable: [unreadable.id] });
  const endpoint = await getSigningEndpoint(pool, old.id);
  if (endpoint === null) throw new Error('gone');
  const opened = openSecrets(endpoint, createSealing([newer]))(Date.now());
  expect(opened).toEqual([rotated.kind === 'done' && rotated.secret, old.secret]);
});
