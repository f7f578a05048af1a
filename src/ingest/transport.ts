// The way to the broker, as MQTT.js wants it described: TCP or WebSocket, with or without TLS. The certificate of the broker is verified
// on every way, whatever the environment says, before a byte of MQTT is written; there is no switch that turns that off.

import { readFileSync } from 'node:fs';
import type { IClientOptions } from 'mqtt';
import { readTlsFiles } from '../runtime/tls-files.ts';
import { ConnectError } from './connect-error.ts';

export type Transport = {
  /** mqtt, mqtts, ws or wss. */
  readonly url: string;
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** Asked for, and verified, in place of the host of the URL. */
  readonly serverName: string | null;
};

type Protocol = 'mqtt' | 'mqtts' | 'ws' | 'wss';

const defaultPorts: Record<Protocol, number> = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 };
/** Of one frame, in which a broker may put several packets. */
const frameBytesMax = 64 * 1024 * 1024;
/** A broker that is silent does not answer the end of a WebSocket either. */
const closeTimeoutMs = 1_000;

/** Reads the files of TLS: those that were renewed are used from the next connection on. */
export function transportOptions(transport: Transport): IClientOptions {
  const url = new URL(transport.url);
  const protocol = url.protocol.slice(0, -1) as Protocol;
  const port = url.port === '' ? defaultPorts[protocol] : Number(url.port);
  const host = url.hostname;
  switch (protocol) {
    case 'mqtt':
      return { protocol, host: withoutBrackets(host), port };
    case 'mqtts':
      return { protocol, host: withoutBrackets(host), port, ...tlsOptions(transport) };
    case 'ws':
      return { protocol, host, port, path: url.pathname, wsOptions };
    case 'wss':
      return { protocol, host, port, path: url.pathname, wsOptions: { ...wsOptions, ...tlsOptions(transport) } };
  }
}

// Compressed, a small frame could unpack to a large one.
const wsOptions = { perMessageDeflate: false, maxPayload: frameBytesMax, closeTimeout: closeTimeoutMs };

/** Of IPv6 addresses: in a URL they stand in brackets, for a socket they do not. */
function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/u, '$1');
}

function tlsOptions({ caFile, certFile, keyFile, serverName }: Transport) {
  const files = readTlsFiles({ ca: caFile, cert: certFile, key: keyFile }, (path) => readFileSync(path, 'utf8'));
  if (files.kind === 'problems') {
    const sentences = files.problems.map(({ sentence }) => sentence).join('; ');
    throw new ConnectError(`the files for TLS cannot be used: ${sentences}`, { problem: 'files' });
  }
  const { ca, cert, key } = files.texts;
  return {
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2' as const,
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
    ...(serverName === null ? {} : { servername: serverName }),
  };
}
