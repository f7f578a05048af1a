// The settings: what the process makes of an environment, and what the documents say of it.

import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describe, expect, test } from 'vitest';
import { envExample, envExamplePath, readmePath, withSettings } from '../../docs/generate.ts';
import { parseSettings, settingsTable, summaryOf } from '../../src/settings.ts';
import { parse, problemsOf, readFile } from './parse-settings.ts';

/** Tables without what a formatter does to the width of their columns. */
function unpadded(page: string): string {
  return page.replaceAll(/ *\| */g, '|').replaceAll(/-{3,}/g, '---');
}

describe('the documents', () => {
  test('.env.example lists every setting with its default and its sentence (npm run docs writes it)', () => {
    expect(readFileSync(envExamplePath, 'utf8')).toBe(envExample());
  });

  test('the README lists every setting with its default and its sentence (npm run docs writes it)', () => {
    const readme = readFileSync(readmePath, 'utf8');
    expect(unpadded(readme)).toBe(unpadded(withSettings(readme)));
  });

  test('.env.example, uncommented, says what the defaults say', () => {
    const uncommented = envExample().replaceAll(/^# (?=[A-Z_]+=)/gm, '');
    const environment = parseEnv(uncommented);
    expect(new Set(Object.keys(environment))).toEqual(new Set(Object.keys(settingsTable)));
    expect(parseSettings(environment, readFile)).toEqual(parse({}));
  });

  test('every setting has a sentence', () => {
    for (const { description } of Object.values(settingsTable)) expect(description).toMatch(/^[A-Z].*\.$/);
  });
});

describe('an environment', () => {
  test('without any setting gives the defaults, and the API on loopback', () => {
    expect(parse({})).toMatchObject({ HTTP_HOST: '127.0.0.1', HTTP_PORT: 8080, API_KEY: null, MQTT_URL: null });
    expect(parse({})).toMatchObject({
      GRACE_MS: 5_000,
      LEASE_MS: 0,
      ROLES: ['ingest', 'api', 'webhooks'],
      LOG_LEVEL: 'info',
    });
    expect(parse({}).PAYLOAD_USER_ID).toEqual(['userId']);
  });

  test('with an empty variable is one without it', () => {
    expect(parse({ GRACE_MS: '', MQTT_URL: '', API_KEY_FILE: '' })).toEqual(parse({}));
  });

  test('with every setting is taken as it says', () => {
    const settings = parse({
      HTTP_HOST: '0.0.0.0',
      HTTP_PORT: '0',
      API_KEY: 'a key of some length',
      MQTT_URL: 'mqtt://broker:1883',
      MQTT_SHARED_GROUP: 'willows',
      LOGIN_TOPIC: 'app/in',
      LOGOUT_TOPIC: 'app/out',
      PAYLOAD_SESSION_ID: '/device/~1id',
      GRACE_MS: '0',
      WEBHOOK_ALLOW_HTTP: 'true',
      WEBHOOK_ALLOW_NETWORKS: '10.1.0.0/16, fd00::/8',
      ROLES: ' api , ingest,api',
    });
    expect(settings).toMatchObject({ HTTP_HOST: '0.0.0.0', HTTP_PORT: 0, MQTT_SHARED_GROUP: 'willows', GRACE_MS: 0 });
    expect(settings.PAYLOAD_SESSION_ID).toEqual(['device', '/id']);
    expect(settings.ROLES).toEqual(['api', 'ingest']);
    expect(settings.WEBHOOK_ALLOW_HTTP).toBe(true);
    expect(settings.WEBHOOK_ALLOW_NETWORKS).toEqual(['10.1.0.0/16', 'fd00::/8']);
  });

  test('gives settings that nobody can change', () => {
    expect(Object.isFrozen(parse({}))).toBe(true);
  });

  test('that is wrong ends the start with all of its errors at once', () => {
    const problems = problemsOf({
      HTTP_PORT: '65536',
      GRACE_MS: '5s',
      API_KEY: 'short',
      MQTT_URL: 'broker:1883',
      DATABASE_URL: 'mysql://host/willow',
      PAYLOAD_EPOCH: 'epoch',
      LOGIN_TOPIC: '/login/#',
      ROLES: 'ingest,webmaster',
      LOG_LEVEL: 'loud',
    });
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'HTTP_PORT',
      'API_KEY',
      'MQTT_URL',
      'DATABASE_URL',
      'LOGIN_TOPIC',
      'PAYLOAD_EPOCH',
      'GRACE_MS',
      'ROLES',
      'LOG_LEVEL',
    ]);
    expect(problems).toContain('HTTP_PORT: must be a whole number from 0 to 65535');
    expect(problems).toContain(
      'MQTT_URL: must be a URL that begins with mqtt://, mqtts://, ws://, wss:// and names a host',
    );
  });

  test('that contradicts itself is told so together with what is wrong by itself, and nothing is said of that twice', () => {
    const contradictory = { HTTP_HOST: '0.0.0.0', DATABASE_URL: 'postgres://db/willow', LOGIN_TOPIC: '/logout' };
    const names = (environment: Record<string, string>) =>
      problemsOf({ ...contradictory, ...environment }).map((problem) => problem.split(':')[0]);
    const relations = ['API_KEY', 'LOGIN_TOPIC and LOGOUT_TOPIC', 'SECRET_KEY'];
    expect(names({ GRACE_MS: '5s' })).toEqual(['GRACE_MS', ...relations]);
    expect(names({ API_KEY: 'short' })).toEqual(['API_KEY', ...relations.slice(1)]);
    expect(names({ API_KEY_FILE: '/run/secrets/none' })).toEqual(['API_KEY_FILE', ...relations.slice(1)]);
    expect(names({ LOGIN_TOPIC: '#', SECRET_KEY: 'short' })).toEqual(['LOGIN_TOPIC', 'SECRET_KEY', 'API_KEY']);
  });

  test.each([' ', '-1', '1.5', '1e3', '0x10', '86400001', '99999999999999999999'])(
    'does not take "%s" for a number of ms',
    (GRACE_MS) => {
      expect(problemsOf({ GRACE_MS })).toEqual(['GRACE_MS: must be a whole number from 0 to 86400000']);
    },
  );

  test.each(['10.1.0.0/33', '10.1.0/16', 'fd00::/129', 'example.com/8', '/8', '1.2.3.4/-1', '10.1.2.3/8'])(
    'does not take "%s" for a network',
    (WEBHOOK_ALLOW_NETWORKS) => {
      const problems = problemsOf({ WEBHOOK_ALLOW_NETWORKS });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(/^WEBHOOK_ALLOW_NETWORKS: .+/);
    },
  );

  test('names origins exactly as browsers send them', () => {
    const CORS_ORIGINS = 'https://app.example.com, http://localhost:5173,http://[::1]:8080,https://app.example.com';
    const origins = ['https://app.example.com', 'http://localhost:5173', 'http://[::1]:8080'];
    expect(parse({ CORS_ORIGINS }).CORS_ORIGINS).toEqual(origins);
    expect(parse({}).CORS_ORIGINS).toBeNull();
  });

  const noOrigins: Readonly<Record<string, RegExp>> = {
    '*': /name each origin/u,
    'https://*.example.com': /such as https:/u,
    'https://app.example.com/': /only.*: https:\/\/app\.example\.com$/u,
    'https://app.example.com/path': /only/u,
    'https://app.example.com?x=1': /only/u,
    'https://App.Example.com': /only/u,
    'https://app.example.com:443': /only/u,
    'https://ada@app.example.com': /only/u,
    'https://bücher.example': /only.*xn--/u,
    'app.example.com': /such as https:/u,
    null: /such as https:/u,
    'ftp://app.example.com': /such as https:/u,
    'https://app.example.com,': /such as https:/u,
  };

  test.each(Object.entries(noOrigins))('does not take "%s" for an origin, and says how it is written', (text, why) => {
    const problems = problemsOf({ CORS_ORIGINS: text });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^CORS_ORIGINS: must /u);
    expect(problems[0]).toMatch(why);
  });
});

describe('the relations between settings', () => {
  test.each(['0.0.0.0', '::', '192.168.1.5', 'willow.internal', '127.evil.example'])(
    'to listen on %s without a key is refused, and says why',
    (HTTP_HOST) => {
      expect(problemsOf({ HTTP_HOST })).toEqual([
        `API_KEY: is needed, because HTTP_HOST is ${HTTP_HOST}: without a key the API serves on loopback only (127.0.0.1, ::1, localhost)`,
      ]);
      expect(problemsOf({ HTTP_HOST, API_KEY: 'a key of some length' })).toEqual([]);
    },
  );

  test.each(['127.0.0.1', '127.8.9.1', '::1', 'localhost'])('to listen on %s needs no key', (HTTP_HOST) => {
    expect(problemsOf({ HTTP_HOST })).toEqual([]);
  });

  test.each([
    ['/presence', '/presence'],
    ['/presence', '/presence/out'],
    ['/presence/in', '/presence'],
  ])('the roots %s and %s would hear each other', (LOGIN_TOPIC, LOGOUT_TOPIC) => {
    expect(problemsOf({ LOGIN_TOPIC, LOGOUT_TOPIC })).toHaveLength(1);
  });

  test('roots that only begin alike do not hear each other', () => {
    expect(problemsOf({ LOGIN_TOPIC: '/log', LOGOUT_TOPIC: '/logout' })).toEqual([]);
  });

  test('a shared group needs a broker that knows shared subscriptions, where this process listens to one', () => {
    expect(problemsOf({ MQTT_SHARED_GROUP: 'willows' })).toEqual([
      'MQTT_SHARED_GROUP: needs MQTT_URL, because the embedded broker has no shared subscriptions',
    ]);
    expect(problemsOf({ MQTT_SHARED_GROUP: 'willows', ROLES: 'api' })).toEqual([]);
  });
});

describe('the keys that secrets are encrypted with', () => {
  const keys = [1, 2].map((byte) => Buffer.alloc(32, byte));
  const [newest = '', older = ''] = keys.map((key) => key.toString('base64url'));

  test('are 32 bytes each, the newest first', () => {
    expect(parse({ SECRET_KEY: newest }).SECRET_KEY).toEqual([keys[0]]);
    expect(parse({ SECRET_KEY: `${newest}, ${older}` }).SECRET_KEY).toEqual(keys);
  });

  test.each([
    'secret',
    `${newest},`,
    `${newest}=`,
    `${newest}A`,
    newest.slice(1),
    Buffer.alloc(32, 0xff).toString('base64'),
    `${newest.slice(0, -1)}F`,
    Array.from({ length: 17 }, () => newest).join(),
  ])('are not "%s", and the sentence does not repeat it', (SECRET_KEY) => {
    const problems = problemsOf({ SECRET_KEY });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^SECRET_KEY: must be 32 bytes as base64url .*openssl rand -base64 32/);
    expect(problems[0]).not.toContain(SECRET_KEY);
  });

  test('are needed where the database is not the embedded one, unless webhooks are left out', () => {
    const DATABASE_URL = 'postgres://db/willow';
    expect(problemsOf({ DATABASE_URL })).toEqual([
      expect.stringMatching(/^SECRET_KEY: is needed, because DATABASE_URL is set.*leave webhooks out of ROLES$/),
    ]);
    expect(problemsOf({ DATABASE_URL, SECRET_KEY: newest })).toEqual([]);
    expect(problemsOf({ DATABASE_URL, ROLES: 'ingest,api' })).toEqual([]);
    expect(problemsOf({})).toEqual([]);
  });
});

test('tickets that are required need a key to sign them with, where no key is made', () => {
  const DATABASE_URL = 'postgres://db/willow';
  const REQUIRE_TICKETS = 'true';
  expect(problemsOf({ DATABASE_URL, REQUIRE_TICKETS, ROLES: 'ingest' })).toEqual([
    expect.stringMatching(/^REQUIRE_TICKETS: needs SECRET_KEY, because DATABASE_URL is set.*openssl/),
  ]);
  const SECRET_KEY = Buffer.alloc(32, 1).toString('base64url');
  expect(problemsOf({ DATABASE_URL, REQUIRE_TICKETS, SECRET_KEY })).toEqual([]);
  expect(problemsOf({ REQUIRE_TICKETS })).toEqual([]);
});

describe('a secret', () => {
  test('can come from a file, without the line break at its end', () => {
    expect(parse({ API_KEY_FILE: '/run/secrets/key' }).API_KEY).toBe('a key of some length');
  });

  test('is not set twice', () => {
    expect(problemsOf({ API_KEY: 'a key of some length', API_KEY_FILE: '/run/secrets/key' })).toEqual([
      'API_KEY: set it or API_KEY_FILE, not both',
    ]);
  });

  test('whose file is missing or empty is an error that names the file, not a start without a key', () => {
    expect(problemsOf({ API_KEY_FILE: '/run/secrets/none' })).toEqual([
      "API_KEY_FILE: ENOENT: no such file or directory, open '/run/secrets/none'",
    ]);
    expect(problemsOf({ API_KEY_FILE: '/run/secrets/empty' })).toEqual(['API_KEY: must have at least 16 characters']);
  });

  test('is in no summary, and no error: neither of its own, nor in a URL', () => {
    const environment = {
      API_KEY: 'tell-nobody-the-key',
      MQTT_PASSWORD: 'tell-nobody-2',
      DATABASE_URL: 'postgres://willow:tell-nobody-3@db/willow',
      SECRET_KEY: 'tell-nobody-6'.padEnd(42, '-').concat('A'),
      MQTT_USERNAME: 'tell-nobody-4',
      MQTT_URL: 'mqtt://broker:1883',
    };
    const summary = summaryOf(parse(environment));
    expect(JSON.stringify(summary)).not.toContain('tell-nobody');
    expect(summary).toEqual({
      API_KEY: '(set)',
      MQTT_PASSWORD: '(set)',
      DATABASE_URL: '(set)',
      SECRET_KEY: '(set)',
      MQTT_USERNAME: '(set)',
      MQTT_URL: 'mqtt://broker:1883',
    });
    const wrong = { API_KEY: 'tell-nobody', DATABASE_URL: 'tell-nobody', MQTT_URL: 'ws://tell-nobody:x@broker' };
    expect(problemsOf(wrong)).toHaveLength(3);
    expect(problemsOf(wrong).join()).not.toContain('tell-nobody');
    expect(problemsOf(wrong)).toContainEqual(expect.stringMatching(/^MQTT_URL: must have no user or password in it/));
  });
});

test('the summary tells what differs from the defaults, and nothing else', () => {
  expect(summaryOf(parse({}))).toEqual({});
  expect(summaryOf(parse({ GRACE_MS: '5000', HTTP_PORT: '9000', ROLES: 'ingest,api,webhooks' }))).toEqual({
    HTTP_PORT: 9000,
  });
});
