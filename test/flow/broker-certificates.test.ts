// Whoever cannot prove to be the broker is told nothing: no CONNECT, and so no password; and whoever runs Willow is told why. With doubles
// that write down what they are sent, and a real Mosquitto that is itself particular about certificates.

import { once } from 'node:events';
import { copyFile, readFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Authority, createAuthority, type Issued } from '../support/certificates.ts';
import { createDatabase } from '../support/database.ts';
import { findFreePort } from '../support/free-port.ts';
import { startSecureMosquitto } from '../support/secure-mosquitto.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { startWillow, type Willow } from '../support/willow.ts';

const credentials = { MQTT_USERNAME: 'the user name of willow', MQTT_PASSWORD: 'the password of willow' };
const name = 'broker.example';

const resources = new AsyncDisposableStack();
let trusted: Authority;
let stranger: Authority;

beforeAll(async () => {
  trusted = resources.use(await createAuthority());
  stranger = resources.use(await createAuthority());
});

afterAll(() => resources.disposeAsync());

type Double = AsyncDisposable & {
  readonly port: number;
  readonly opened: () => number;
  /** What came, decrypted where it was encrypted. */
  readonly heard: () => Buffer;
};

/** Listens, and writes down what comes. By TLS it says nothing; without, it does not understand. */
async function startDouble(certificate: Issued | null): Promise<Double> {
  const sockets = new Set<Socket>();
  const chunks: Buffer[] = [];
  let opened = 0;
  const hear = (socket: Socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (certificate === null) socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
  };
  const server: Server =
    certificate === null
      ? createServer(hear)
      : createTlsServer({ cert: await readFile(certificate.certFile), key: await readFile(certificate.keyFile) }, hear);
  server.on('connection', (socket: Socket) => {
    opened += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    opened: () => opened,
    heard: () => Buffer.concat(chunks),
    [Symbol.asyncDispose]: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

type Told = { readonly problem: unknown; readonly message: string | undefined };

/** What /readyz and the log say of the attempts to connect; two at least were made. */
async function told(willow: Willow): Promise<Told> {
  const failures = await until('a second failed attempt', () => {
    const lines = willow.log().filter(({ event, loop }) => event === 'loop.failed' && loop === 'link');
    return lines.length >= 2 && lines;
  });
  const { status, body } = await willow.get<{ checks: { link: Record<string, unknown> } }>('/readyz');
  expect(status).toBe(503);
  expect(willow.log().filter(({ event }) => event === 'link.up')).toEqual([]);
  expect(willow.child.lines.join('\n')).not.toContain(credentials.MQTT_PASSWORD);
  // The sentence is ours, and stands there once.
  for (const hidden of ['"stack"', '"cause"', '--use-']) expect(JSON.stringify(failures)).not.toContain(hidden);
  const { message } = (failures[0]?.['err'] ?? {}) as { message?: string };
  return { problem: body.checks.link['problem'], message };
}

describe.concurrent.each(['mqtts', 'wss'] as const)('over %s nothing is said to a broker', (protocol) => {
  const rightName = { altNames: [`DNS:${name}`] };
  test.each<[string, string, RegExp, () => Promise<Issued>, Record<string, string>]>([
    [
      'whose certificate a stranger has signed',
      'certificate-unknown',
      /^no connection to the broker: nobody who is trusted has signed its certificate, [A-Z_]+ \(MQTT_CA_FILE names/u,
      () => stranger.issue('a broker', rightName),
      { MQTT_SERVER_NAME: name },
    ],
    [
      'whose certificate a stranger has signed, when the environment asks Node to look away',
      'certificate-unknown',
      /^no connection to the broker: nobody who is trusted has signed its certificate, [A-Z_]+ \(MQTT_CA_FILE names/u,
      () => stranger.issue('a broker', rightName),
      { MQTT_SERVER_NAME: name, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    ],
    [
      'whose certificate is for another name',
      'certificate-name',
      /MQTT_SERVER_NAME must say/u,
      () => trusted.issue('a broker', { altNames: ['DNS:other.example'] }),
      { MQTT_SERVER_NAME: name },
    ],
    [
      'whose certificate is for a name, when it is reached by its address',
      'certificate-name',
      /MQTT_SERVER_NAME must say/u,
      () => trusted.issue('a broker', rightName),
      {},
    ],
    [
      'whose certificate has expired',
      'certificate-time',
      /certificate has expired.*needs a new certificate/u,
      () => trusted.issue('a broker', { ...rightName, days: -1 }),
      { MQTT_SERVER_NAME: name },
    ],
  ])('%s', async (_case, problem, message, certificate, settings) => {
    await using double = await startDouble(await certificate());
    await using database = await createDatabase();
    await using willow = await startWillow({
      ...credentials,
      MQTT_URL: `${protocol}://127.0.0.1:${double.port}`,
      MQTT_CA_FILE: trusted.caFile,
      DATABASE_URL: database.url,
      ...settings,
    });
    expect(await told(willow)).toEqual({ problem, message: expect.stringMatching(message) as string });
    expect(double.opened()).toBeGreaterThanOrEqual(2);
    expect(double.heard().toString('latin1')).toBe('');
  });

  test('that speaks no TLS, but the greeting of TLS', async () => {
    await using double = await startDouble(null);
    await using database = await createDatabase();
    await using willow = await startWillow({
      ...credentials,
      MQTT_URL: `${protocol}://127.0.0.1:${double.port}`,
      DATABASE_URL: database.url,
    });
    expect(await told(willow)).toMatchObject({ problem: 'no-tls' });
    // The record of a handshake; a CONNECT would begin with 16, an HTTP request with G.
    expect(double.heard()[0]).toBe(22);
    expect(double.heard().toString('latin1')).not.toMatch(/of willow|MQTT/u);
  });
});

test('a double that proves its name is spoken to: what is written down would be seen', async () => {
  await using double = await startDouble(await trusted.issue('a broker', { altNames: ['IP:127.0.0.1'] }));
  await using database = await createDatabase();
  await using willow = await startWillow({
    ...credentials,
    MQTT_URL: `mqtts://127.0.0.1:${double.port}`,
    MQTT_CA_FILE: trusted.caFile,
    DATABASE_URL: database.url,
  });
  await until('a CONNECT', () => double.heard().includes(credentials.MQTT_PASSWORD));
  expect(willow.child.lines.join('\n')).not.toContain(credentials.MQTT_PASSWORD);
});

describe('a listener of another kind is named as the reason', () => {
  async function toldAt(url: string, settings: Readonly<Record<string, string>> = {}): Promise<Told> {
    await using database = await createDatabase();
    await using willow = await startWillow({ ...credentials, MQTT_URL: url, DATABASE_URL: database.url, ...settings });
    return await told(willow);
  }

  test('TLS at a plain one, plain at a TLS one, and a client without the certificate that is wanted', async () => {
    const server = await trusted.issue('a broker', { altNames: ['IP:127.0.0.1'] });
    await using mosquitto = await startSecureMosquitto({ authority: trusted, server, clientCaFile: trusted.caFile });
    const { mqtt, mqtts, wss } = mosquitto.urls;
    const tls = { MQTT_CA_FILE: trusted.caFile };
    const foreign = await stranger.issue('willow');
    const foreignKeys = { ...tls, MQTT_CERT_FILE: foreign.certFile, MQTT_KEY_FILE: foreign.keyFile };
    const [tlsAtPlain, plainAtTls, wsAtTls, without, withForeign, withoutWss, withoutCa] = await Promise.all([
      toldAt(mqtt.replace('mqtt:', 'mqtts:'), tls),
      toldAt(mqtts.replace('mqtts:', 'mqtt:')),
      toldAt(wss.replace('wss:', 'ws:')),
      toldAt(mqtts, tls),
      toldAt(mqtts, foreignKeys),
      toldAt(wss, tls),
      toldAt(mqtts),
    ]);
    const saying = (problem: string, message: RegExp) => ({
      problem,
      message: expect.stringMatching(message) as string,
    });
    expect(tlsAtPlain).toMatchObject(saying('closed', /MQTT_URL speaks TLS/u));
    for (const one of [plainAtTls, wsAtTls]) expect(one).toMatchObject(saying('closed', /mqtts:\/\/ or wss:\/\//u));
    const refused = saying('handshake-refused', /MQTT_CERT_FILE and MQTT_KEY_FILE/u);
    for (const one of [without, withForeign, withoutWss]) expect(one).toMatchObject(refused);
    expect(withoutCa).toMatchObject(saying('certificate-unknown', /MQTT_CA_FILE is not set/u));
  });

  test('a broker that does not know the password, and a port that nobody listens on', async () => {
    const server = await trusted.issue('a broker', { altNames: ['IP:127.0.0.1'] });
    const users = { willow: 'another password' };
    await using mosquitto = await startSecureMosquitto({ authority: trusted, server, users });
    const [refused, absent] = await Promise.all([
      toldAt(mosquitto.urls.wss, { MQTT_CA_FILE: trusted.caFile }),
      toldAt(`mqtts://127.0.0.1:${await findFreePort()}`),
    ]);
    expect(refused).toMatchObject({
      problem: 'connect-refused',
      message: expect.stringMatching(/MQTT_USERNAME and MQTT_PASSWORD/u) as string,
    });
    expect(absent).toMatchObject({ problem: 'unreachable', message: expect.stringMatching(/ECONNREFUSED/u) as string });
  });

  test('a web server that has no WebSocket', async () => {
    const server = createHttpServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { port } = server.address() as AddressInfo;
      const { problem, message } = await toldAt(`ws://127.0.0.1:${port}/mqtt`);
      expect(problem).toBe('closed');
      expect(message).toMatch(/404.*path/u);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

test('files that are renewed are used for the next connection: those of who may sign, and one’s own', async () => {
  const server = await trusted.issue('a broker', { altNames: ['IP:127.0.0.1'] });
  const [caFile, certFile, keyFile, clientCaFile] = ['ca', 'cert', 'key', 'clients'].map((one) =>
    join(trusted.directory, `renewed-${one}.pem`),
  ) as [string, string, string, string];
  const give = async (from: Authority) => {
    const { certFile: cert, keyFile: key } = await from.issue('willow');
    await Promise.all([copyFile(cert, certFile), copyFile(key, keyFile)]);
  };
  await copyFile(stranger.caFile, caFile);
  await copyFile(trusted.caFile, clientCaFile);
  await give(trusted);
  await using mosquitto = await startSecureMosquitto({ authority: trusted, server, clientCaFile });
  await using database = await createDatabase();
  await using willow = await startWillow({
    MQTT_URL: mosquitto.urls.mqtts,
    MQTT_CA_FILE: caFile,
    MQTT_CERT_FILE: certFile,
    MQTT_KEY_FILE: keyFile,
    DATABASE_URL: database.url,
  });
  expect(await told(willow)).toMatchObject({ problem: 'certificate-unknown' });
  await copyFile(trusted.caFile, caFile);
  await willow.logged('link.up');

  await copyFile(stranger.caFile, clientCaFile);
  await mosquitto.stop('SIGTERM');
  await mosquitto.restart();
  const problemNow = async () => {
    const { body } = await willow.get<{ checks: { link: Record<string, unknown> } }>('/readyz');
    return body.checks.link['problem'];
  };
  await until('the refusal of the old one', async () => (await problemNow()) === 'handshake-refused');
  const { certFile: next, keyFile: nextKey } = await stranger.issue('willow');
  await copyFile(next, certFile);
  await until('files that do not fit', async () => (await problemNow()) === 'files');
  await copyFile(nextKey, keyFile);
  await until('ready again', async () => (await willow.get('/readyz')).status === 200);
  expect(await problemNow()).toBeUndefined();
});

test('without a file of one’s own, those are trusted whom Node trusts, and no authority of this test is among them', async () => {
  const server = await trusted.issue('a broker', { altNames: ['IP:127.0.0.1'] });
  await using mosquitto = await startSecureMosquitto({ authority: trusted, server });
  await using database = await createDatabase();
  {
    await using willow = await startWillow({ MQTT_URL: mosquitto.urls.wss, DATABASE_URL: database.url });
    expect(await told(willow)).toMatchObject({ problem: 'certificate-unknown' });
  }
  await using willow = await startListening({ url: mosquitto.urls.wss }, database, {
    NODE_EXTRA_CA_CERTS: trusted.caFile,
  });
  expect((await willow.get('/readyz')).status).toBe(200);
});
