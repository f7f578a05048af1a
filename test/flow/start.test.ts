import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { createHome } from '../support/embedded.ts';
import { findFreePort } from '../support/free-port.ts';
import { refusalOf } from '../support/refusal.ts';

/** Somebody else, who listens there already. */
async function occupyPort(): Promise<{ readonly port: string } & AsyncDisposable> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port: String(port),
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

describe.concurrent('a start that cannot go on ends with code 1 and one sentence that names the remedy', () => {
  test('the HTTP port is in use', async () => {
    await using taken = await occupyPort();
    await using database = await createDatabase();
    const { code, said } = await refusalOf({ DATABASE_URL: database.url, HTTP_PORT: taken.port });
    expect(code).toBe(1);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(new RegExp(`^willow: .*${taken.port}.*another HTTP_PORT.*\\.$`));
  });

  test('the port of the embedded broker is in use', async () => {
    await using taken = await occupyPort();
    await using database = await createDatabase();
    const { code, said } = await refusalOf({ DATABASE_URL: database.url, EMBEDDED_MQTT_PORT: taken.port });
    expect(code).toBe(1);
    expect(said).toEqual([
      `willow: Port ${taken.port} on 127.0.0.1 is in use: set EMBEDDED_MQTT_PORT to a free port, or MQTT_URL to a broker that is there.`,
    ]);
  });

  test('the data directory is of another version of PostgreSQL', async () => {
    await using home = await createHome();
    await mkdir(join(home.dataDir, 'postgres'), { recursive: true });
    await writeFile(join(home.dataDir, 'postgres', 'PG_VERSION'), '13\n');
    await writeFile(join(home.dataDir, 'postgres', 'willow.password'), 'secret\n');
    const { code, said } = await refusalOf({ DATA_DIR: home.dataDir });
    expect(code).toBe(1);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/^willow: .* was made by PostgreSQL 13, .* pg_dump .*\.$/);
  });

  test('the data directory is somebody else’s', async () => {
    await using home = await createHome();
    await mkdir(join(home.dataDir, 'postgres'), { recursive: true });
    await writeFile(join(home.dataDir, 'postgres', 'holiday.jpg'), '');
    const { code, said } = await refusalOf({ DATA_DIR: home.dataDir });
    expect([code, said.length]).toEqual([1, 1]);
    expect(said[0]).toMatch(/^willow: .* holds something else than a database of Willow: .*DATA_DIR\.$/);
  });

  test('the database cannot be reached', async () => {
    const port = await findFreePort();
    const { code, said } = await refusalOf({ DATABASE_URL: `postgres://willow:secret@127.0.0.1:${port}/willow` });
    expect(code).toBe(1);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(new RegExp(`^willow: The database at 127\\.0\\.0\\.1:${port} .*\\.$`));
    expect(said[0]).not.toContain('secret');
  });
});

test('a database that others can read needs a key for the secrets in it, and the sentence says how to make one', async () => {
  await using database = await createDatabase();
  const { code, said } = await refusalOf({ DATABASE_URL: database.url, SECRET_KEY: '' });
  expect(code).toBe(1);
  expect(said).toHaveLength(2);
  expect(said[1]).toMatch(/^ {2}SECRET_KEY: is needed, because DATABASE_URL is set.*openssl rand -base64 32.*ROLES$/);
});

test('bad settings are all said at once, each with its name', async () => {
  const { code, said } = await refusalOf({
    HTTP_HOST: '0.0.0.0',
    HTTP_PORT: '70000',
    MQTT_URL: 'http://broker',
    DATABASE_URL: 'mysql://secret@db',
    LOGIN_TOPIC: '/login/#',
    PAYLOAD_EPOCH: 'epoch',
    GRACE_MS: '-1',
    LEASE_MS: 'an hour',
    SECRET_KEY: 'secret',
    WEBHOOK_ALLOW_HTTP: 'yes',
    WEBHOOK_ALLOW_NETWORKS: '10.0.0.0/40',
    ROLES: 'ingest,cook',
    LOG_LEVEL: 'loud',
  });
  expect(code).toBe(1);
  expect(said[0]).toBe('willow: the settings are wrong:');
  const names = said.slice(1).map((line) => /^ {2}([A-Z_]+): /.exec(line)?.[1]);
  expect(names).toEqual([
    'HTTP_PORT',
    'MQTT_URL',
    'DATABASE_URL',
    'LOGIN_TOPIC',
    'PAYLOAD_EPOCH',
    'GRACE_MS',
    'LEASE_MS',
    'SECRET_KEY',
    'WEBHOOK_ALLOW_HTTP',
    'WEBHOOK_ALLOW_NETWORKS',
    'ROLES',
    'LOG_LEVEL',
    // What contradicts what, as far as the others are right.
    'API_KEY',
  ]);
  expect(said.join('\n')).not.toContain('secret');
});

test('settings that contradict each other are said with the remedy', async () => {
  const { code, said } = await refusalOf({
    HTTP_HOST: '0.0.0.0',
    LOGIN_TOPIC: '/app',
    LOGOUT_TOPIC: '/app/out',
    MQTT_SHARED_GROUP: 'g',
  });
  expect(code).toBe(1);
  expect(said).toHaveLength(4);
  expect(said.join('\n')).toMatch(
    /API_KEY: .*HTTP_HOST[^]*LOGIN_TOPIC and LOGOUT_TOPIC[^]*MQTT_SHARED_GROUP: needs MQTT_URL/,
  );
});
