// Files of TLS that cannot serve end the start, each with its sentence, and none with what stands in it.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Authority, createAuthority, type Issued } from '../support/certificates.ts';
import { refusalOf } from '../support/refusal.ts';

const resources = new AsyncDisposableStack();
let authority: Authority;
let own: Issued;
let other: Issued;
let noise: string;
let encrypted: string;

beforeAll(async () => {
  authority = resources.use(await createAuthority());
  [own, other] = [await authority.issue('willow'), await authority.issue('other')];
  noise = join(authority.directory, 'noise.pem');
  await writeFile(noise, '-----BEGIN CERTIFICATE-----\nc2VjcmV0IG5vaXNl\n-----END CERTIFICATE-----\n');
  encrypted = join(authority.directory, 'encrypted.key');
  await promisify(execFile)('openssl', [
    'pkey',
    '-in',
    own.keyFile,
    '-aes256',
    '-passout',
    'pass:x',
    '-out',
    encrypted,
  ]);
});

afterAll(() => resources.disposeAsync());

describe.concurrent('a start with TLS ends with code 1 and a sentence when', () => {
  test.each<[string, () => Record<string, string>, () => readonly string[]]>([
    [
      'no file is there',
      () => ({ MQTT_CA_FILE: '/nowhere/ca.pem' }),
      () => ["MQTT_CA_FILE: ENOENT: no such file or directory, open '/nowhere/ca.pem'"],
    ],
    [
      'the files are none of their kind',
      () => ({ MQTT_CA_FILE: own.keyFile, MQTT_CERT_FILE: noise, MQTT_KEY_FILE: noise }),
      () => [
        `MQTT_CA_FILE: ${own.keyFile} has no certificate in it (PEM, -----BEGIN CERTIFICATE-----)`,
        `MQTT_CERT_FILE: ${noise} has no certificate in it (PEM, -----BEGIN CERTIFICATE-----)`,
        `MQTT_KEY_FILE: ${noise} has no private key in it (PEM, -----BEGIN PRIVATE KEY-----)`,
      ],
    ],
    [
      'the key is that of another certificate',
      () => ({ MQTT_CERT_FILE: own.certFile, MQTT_KEY_FILE: other.keyFile }),
      () => [`MQTT_KEY_FILE: the key in ${other.keyFile} does not fit the certificate in ${own.certFile}`],
    ],
    [
      'the key is encrypted',
      () => ({ MQTT_CERT_FILE: own.certFile, MQTT_KEY_FILE: encrypted }),
      () => [`MQTT_KEY_FILE: ${encrypted} has a key that is encrypted: only one without a passphrase can be used`],
    ],
    [
      'they are directories',
      () => ({ MQTT_CA_FILE: authority.directory }),
      () => [`MQTT_CA_FILE: ${authority.directory}: EISDIR: illegal operation on a directory, read`],
    ],
  ])('%s', async (_case, settings, problems) => {
    const { code, said } = await refusalOf({ MQTT_URL: 'mqtts://127.0.0.1:1', ...settings() });
    expect(code).toBe(1);
    expect(said).toEqual(['willow: the settings are wrong:', ...problems().map((problem) => `  ${problem}`)]);
  });
});
