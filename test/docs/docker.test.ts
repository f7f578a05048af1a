// There may be no Docker where the tests run, so the image and the compose file are read instead: what they name must exist, what they
// run must be able to stop, and nothing may be open to others without a key.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseSettings, settingsTable } from '../../src/settings.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

type Instruction = { readonly name: string; readonly value: string };

const instructions: readonly Instruction[] = read('Dockerfile')
  .replaceAll(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [, name = '', value = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    return { name, value };
  });
const valuesOf = (name: string) => instructions.filter((one) => one.name === name).map(({ value }) => value);
const sourcesCopied = valuesOf('COPY')
  .filter((value) => !value.startsWith('--from'))
  .flatMap((value) => value.split(/\s+/).slice(0, -1));

const packageJson = JSON.parse(read('package.json')) as {
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<string, string>>;
};

type Service = {
  readonly image?: string;
  readonly environment: Readonly<Record<string, string | number>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly restart: string;
};
const compose = parse(read('compose.yaml')) as {
  readonly services: Readonly<Record<'willow' | 'emqx' | 'postgres', Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly configs: Readonly<Record<string, { readonly file?: string; readonly content?: string }>>;
};
const services = Object.entries(compose.services);

/** The variables in a text, as docker compose would fill them in. */
function fill(value: string | number): string {
  const given = {
    API_KEY: 'a key of some length',
    SECRET_KEY: Buffer.alloc(32, 7).toString('base64url'),
    POSTGRES_PASSWORD: 'secret',
    MQTT_PASSWORD: 'secret too',
    EMQX_DASHBOARD_PASSWORD: 'another secret',
  };
  return String(value).replaceAll(/\$\{(\w+):\?[^}]+\}/g, (_all, name: keyof typeof given) => given[name]);
}

function filledIn(environment: Service['environment']): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, fill(value)]));
}

describe('the image', () => {
  test('runs on the major version of Node that package.json asks for', () => {
    const major = /\d+/.exec(packageJson.engines.node)?.[0];
    for (const image of valuesOf('FROM')) expect(image).toMatch(new RegExp(`^node:${major}[.-]`));
  });

  test('copies what exists, and .dockerignore lets it through', () => {
    const patterns = read('.dockerignore').split('\n');
    const letThrough = patterns.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    expect(patterns).toContain('*');
    expect(sourcesCopied.length).toBeGreaterThan(0);
    expect(new Set(sourcesCopied.map((source) => source.replace('./', '')))).toEqual(new Set(letThrough));
    for (const source of sourcesCopied) expect(existsSync(new URL(source, root)), source).toBe(true);
  });

  test('installs from the lock file, without development packages, without the scripts of strangers', () => {
    const [install, ...others] = valuesOf('RUN');
    expect(others).toEqual([]);
    expect(install).toMatch(/^npm ci /);
    for (const option of ['--omit=dev', '--omit=optional', '--ignore-scripts']) expect(install).toContain(option);
  });

  test('has everything that the sources import', () => {
    const imported = new Set<string>();
    for (const file of globSync('src/**/*.ts', { cwd: root, exclude: ['src/generated/**'] })) {
      for (const [, specifier = ''] of read(file).matchAll(/(?:\bfrom |\bimport\(|^import )'([^']+)'/gm)) {
        if (specifier.startsWith('node:')) continue;
        // What is generated is not in the image: whoever imports it has to make it there.
        if (specifier.startsWith('.')) expect(specifier, file).not.toContain('generated');
        else imported.add(/^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier);
      }
    }
    expect(Object.keys(packageJson.dependencies)).toEqual(expect.arrayContaining([...imported]));
  });

  test('does not run as root', () => {
    expect(valuesOf('USER').at(-1)).toBe('node');
  });

  test('is told to stop by the signal that Willow hears, with no shell in between', () => {
    expect(valuesOf('STOPSIGNAL')).toEqual(['SIGTERM']);
    expect(JSON.parse(valuesOf('CMD').at(-1) ?? '')).toEqual(['node', 'src/main.ts']);
    expect(valuesOf('ENTRYPOINT')).toEqual([]);
  });

  test('is well while Willow says so, by the program that it has', async () => {
    const [, command = ''] = /CMD (\[.*\])$/.exec(valuesOf('HEALTHCHECK')[0] ?? '') ?? [];
    const [program, ...programArguments] = JSON.parse(command) as string[];
    expect(program).toBe('node');
    const paths = new Set<string | undefined>();
    let status = 200;
    const server = createServer((request, response) => {
      paths.add(request.url);
      response.writeHead(status).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const check = async () => {
      const child = spawn(process.execPath, programArguments, { env: { HTTP_PORT: String(port) }, stdio: 'inherit' });
      const [code] = (await once(child, 'exit')) as [number | null];
      return code;
    };
    try {
      expect(await check()).toBe(0);
      status = 503;
      expect(await check()).toBe(1);
      expect([...paths]).toEqual(['/healthz']);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    expect(await check()).toBe(1);
  }, 60_000);

  test('sets no variable that is no setting, and needs an API key', () => {
    const environment = Object.fromEntries(valuesOf('ENV').map((value) => value.split('=') as [string, string]));
    for (const name of Object.keys(environment)) expect(settingsTable).toHaveProperty(name);
    expect(() => parseSettings(environment, () => '')).toThrow('API_KEY: is needed');
  });
});

describe('the compose file', () => {
  test('gives Willow settings that exist and go together, and an API key that nobody can forget', () => {
    const { environment } = compose.services.willow;
    for (const name of Object.keys(environment)) expect(settingsTable).toHaveProperty(name);
    const settings = parseSettings(filledIn(environment), () => '');
    expect(settings).toMatchObject({ HTTP_HOST: '0.0.0.0', MQTT_URL: 'mqtt://emqx:1883' });
    expect(environment['API_KEY']).toMatch(/^\$\{API_KEY:\?.+\}$/);
    expect(environment['SECRET_KEY']).toMatch(/^\$\{SECRET_KEY:\?.+\}$/);
    expect(new URL(settings.DATABASE_URL ?? '').hostname).toBe('postgres');
  });

  test('maps the port that Willow listens on, whatever .env says', () => {
    const { environment, ports } = compose.services.willow;
    expect(ports).toEqual([`127.0.0.1:8080:${environment['HTTP_PORT']}`]);
  });

  test('gives PostgreSQL the user, the password and the database that Willow comes with', () => {
    const url = new URL(filledIn(compose.services.willow.environment)['DATABASE_URL'] ?? '');
    expect(filledIn(compose.services.postgres.environment)).toEqual({
      POSTGRES_USER: url.username,
      POSTGRES_PASSWORD: url.password,
      POSTGRES_DB: url.pathname.slice(1),
    });
  });

  test('pins what it does not build', () => {
    const images = services.flatMap(([, { image }]) => image ?? []);
    expect(images).toHaveLength(services.length - 1);
    for (const image of images) expect(image).toMatch(/:\d+\.\d+/);
    expect(compose.services.emqx.image).toMatch(/^emqx\/emqx:5\.8\.\d+$/);
    expect(compose.services.postgres.image).toMatch(/^postgres:17\.\d+$/);
  });

  test('lets EMQX keep and send more than its defaults of 1,000 and 32', () => {
    const { environment } = compose.services.emqx;
    expect(environment['EMQX_MQTT__MAX_MQUEUE_LEN']).toBeGreaterThan(1_000);
    expect(environment['EMQX_MQTT__MAX_INFLIGHT']).toBeGreaterThan(32);
  });

  test('lets into EMQX whom it knows, Willow to begin with, with the rules of the recipe and nothing besides', () => {
    const { environment, configs = [] } = compose.services.emqx;
    const mounted = new Map(configs.map(({ source, target }) => [target, compose.configs[source]]));
    const users = mounted.get(String(environment['EMQX_AUTHENTICATION__1__BOOTSTRAP_FILE']))?.content ?? '';
    const { MQTT_USERNAME, MQTT_PASSWORD } = filledIn(compose.services.willow.environment);
    expect(fill(users).trim().split('\n')).toEqual([
      'user_id,password,is_superuser',
      `${MQTT_USERNAME},${MQTT_PASSWORD},false`,
    ]);
    const rules = mounted.get(String(environment['EMQX_AUTHORIZATION__SOURCES__1__PATH']))?.file ?? '';
    expect(rules).toBe('docs/recipes/emqx/acl.conf');
    expect(read(rules)).toContain(`{username, "${MQTT_USERNAME}"}`);
    expect(environment).toMatchObject({
      EMQX_AUTHENTICATION__1__BACKEND: 'built_in_database',
      EMQX_AUTHENTICATION__1__BOOTSTRAP_TYPE: 'plain',
      EMQX_AUTHORIZATION__NO_MATCH: 'deny',
      EMQX_AUTHORIZATION__SOURCES__1__TYPE: 'file',
      EMQX_MQTT__CLIENTID_OVERRIDE: `"concat([username, '-', clientid])"`,
    });
    for (const name of ['MQTT_PASSWORD', 'EMQX_DASHBOARD_PASSWORD'])
      expect(read('compose.yaml')).toMatch(new RegExp(`\\$\\{${name}:\\?`));
  });

  test('starts Willow when the others are well, and everything again after a crash', () => {
    const { depends_on = {} } = compose.services.willow;
    const others = services.map(([name]) => name).filter((name) => name !== 'willow');
    expect(new Set(Object.keys(depends_on))).toEqual(new Set(others));
    for (const { condition } of Object.values(depends_on)) expect(condition).toBe('service_healthy');
    for (const name of others) expect(services.find(([one]) => one === name)?.[1].healthcheck?.test[0]).toBe('CMD');
    for (const [, { restart }] of services) expect(restart).toBe('unless-stopped');
  });

  test('is reachable from this machine alone', () => {
    for (const [, { ports = [] }] of services) for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test('keeps what must be kept in volumes of its own', () => {
    const mounted = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]));
    expect(new Set(mounted)).toEqual(new Set(Object.keys(compose.volumes)));
    expect(mounted).toHaveLength(2);
  });
});
