// The settings that say how the broker is reached: what is taken, what is refused, and what goes together.

import { describe, expect, test } from 'vitest';
import { parse, problemsOf } from './parse-settings.ts';

describe('the way to the broker', () => {
  test.each([
    'mqtt:broker',
    'mqtt://',
    'http://broker',
    'broker',
    'mqtt://broker/path',
    'mqtts://broker:8883/mqtt',
    'mqtt://broker?clientId=other',
    'wss://broker/mqtt#top',
    'mqtts://willow@broker',
    'wss://:secret@broker/mqtt',
  ])('does not take "%s" for a broker', (MQTT_URL) => {
    const problems = problemsOf({ MQTT_URL });
    expect(problems).toHaveLength(1);
    expect(problems.join()).not.toContain('secret');
  });

  test.each(['mqtt://broker', 'mqtt://[::1]:1883/', 'mqtts://broker:8883', 'ws://broker', 'wss://broker:8084/mqtt'])(
    'takes "%s" for a broker',
    (MQTT_URL) => {
      expect(parse({ MQTT_URL }).MQTT_URL).toBe(MQTT_URL);
    },
  );

  test.each(['127.0.0.1', '::1', 'https://broker', 'broker:8883', 'bro ker', '.broker', ''.padEnd(254, 'a')])(
    'does not take "%s" for the name of a server',
    (MQTT_SERVER_NAME) => {
      expect(problemsOf({ MQTT_URL: 'mqtts://broker', MQTT_SERVER_NAME })[0]).toMatch(/^MQTT_SERVER_NAME: /);
    },
  );
});

describe('what TLS needs', () => {
  const all = {
    MQTT_CA_FILE: '/run/tls/ca.pem',
    MQTT_CERT_FILE: '/run/tls/cert.pem',
    MQTT_KEY_FILE: '/run/tls/key.pem',
    MQTT_SERVER_NAME: 'broker',
  };

  test.each(['mqtt://broker', 'ws://broker/mqtt'])('goes with no way but one by TLS, and %s is none', (MQTT_URL) => {
    expect(problemsOf({ ...all, MQTT_URL })).toEqual(
      Object.keys(all).map(
        (name) => `${name}: needs an MQTT_URL of mqtts:// or wss://, because MQTT_URL asks for no TLS`,
      ),
    );
  });

  test('does not go with the embedded broker', () => {
    expect(problemsOf({ MQTT_SERVER_NAME: 'broker' })).toEqual([
      'MQTT_SERVER_NAME: needs an MQTT_URL of mqtts:// or wss://, because the embedded broker has no TLS',
    ]);
  });

  test('is a certificate with its key, and files that are there: whatever is missing is said at once', () => {
    const { MQTT_CA_FILE, MQTT_CERT_FILE, MQTT_KEY_FILE } = all;
    const missing = (path: string) => `ENOENT: no such file or directory, open '${path}'`;
    const MQTT_URL = 'mqtts://broker';
    expect(problemsOf({ MQTT_URL, MQTT_CA_FILE, MQTT_CERT_FILE })).toEqual([
      'MQTT_CERT_FILE: needs MQTT_KEY_FILE',
      `MQTT_CA_FILE: ${missing(MQTT_CA_FILE)}`,
      `MQTT_CERT_FILE: ${missing(MQTT_CERT_FILE)}`,
    ]);
    expect(
      problemsOf({ MQTT_URL, MQTT_KEY_FILE, GRACE_MS: '0', MQTT_SHARED_GROUP: 'g', LOGIN_TOPIC: '/logout' }),
    ).toEqual([
      'LOGIN_TOPIC and LOGOUT_TOPIC: neither may be the other, or below it',
      'MQTT_KEY_FILE: needs MQTT_CERT_FILE',
      `MQTT_KEY_FILE: ${missing(MQTT_KEY_FILE)}`,
    ]);
  });

  test('is not asked of a process that does not listen to the broker', () => {
    expect(problemsOf({ ...all, ROLES: 'api' })).toEqual([]);
  });
});
