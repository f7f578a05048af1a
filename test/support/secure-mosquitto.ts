// A real Mosquitto that is spoken to by TLS, by WebSocket, and by both; users and a password file of its own on request. Beside them it has
// the plain listener of every test's Mosquitto, for those who look on.

import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Authority, type Issued } from './certificates.ts';
import { findFreePort } from './free-port.ts';
import { type Mosquitto, startMosquitto } from './mosquitto.ts';
import { startChild } from './process.ts';

export type Way = 'mqtt' | 'mqtts' | 'ws' | 'wss';

export type SecureMosquitto = Mosquitto & { readonly urls: Readonly<Record<Way, string>> };

export type SecureOptions = {
  readonly authority: Authority;
  readonly server: Issued;
  /** By TLS only those are let in who show a certificate that the authority in this file has signed. */
  readonly clientCaFile?: string;
  /** User names and their passwords; without them everybody is let in. */
  readonly users?: Readonly<Record<string, string>>;
};

export async function startSecureMosquitto(options: SecureOptions): Promise<SecureMosquitto> {
  const { server, clientCaFile, users } = options;
  const ports = { mqtts: await findFreePort(), ws: await findFreePort(), wss: await findFreePort() };
  const clients = clientCaFile === undefined ? [] : [`cafile ${clientCaFile}`, 'require_certificate true'];
  const tls = [`certfile ${server.certFile}`, `keyfile ${server.keyFile}`, ...clients];
  const access =
    users === undefined
      ? []
      : ['allow_anonymous false', `password_file ${await passwordFile(options.authority, users)}`];
  const lines = [
    ...access,
    `listener ${ports.mqtts} 127.0.0.1`,
    ...tls,
    `listener ${ports.ws} 127.0.0.1`,
    'protocol websockets',
    `listener ${ports.wss} 127.0.0.1`,
    'protocol websockets',
    ...tls,
  ];
  const mosquitto = await startMosquitto({ lines });
  const urls = {
    mqtt: mosquitto.url,
    mqtts: `mqtts://127.0.0.1:${ports.mqtts}`,
    ws: `ws://127.0.0.1:${ports.ws}/mqtt`,
    wss: `wss://127.0.0.1:${ports.wss}/mqtt`,
  };
  return Object.defineProperty(mosquitto, 'urls', { value: urls }) as SecureMosquitto;
}

async function passwordFile({ directory }: Authority, users: Readonly<Record<string, string>>): Promise<string> {
  const file = join(directory, 'passwords');
  await writeFile(file, '');
  await chmod(file, 0o600);
  for (const [user, password] of Object.entries(users)) {
    const tool = await startChild('mosquitto_passwd', ['-b', file, user, password]);
    if ((await tool.exited) !== 0) throw new Error(`no password for ${user}: ${tool.lines.join('\n')}`);
  }
  return file;
}
