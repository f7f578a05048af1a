// What may stand in the settings that say how the broker is reached, and what of it must go together: the URL, the host name, the files
// that TLS needs. It names the setting that is wrong, and repeats nothing that may be secret.

import { isIP } from 'node:net';
import { z } from 'zod';
import { readTlsFiles } from './runtime/tls-files.ts';

const protocols = ['mqtt:', 'mqtts:', 'ws:', 'wss:'];

export const BrokerUrl = z.string().superRefine((text, context) => {
  const problem = urlProblem(text);
  if (problem !== null) context.addIssue(problem);
});

function urlProblem(text: string): string | null {
  const url = URL.parse(text);
  if (url === null || !protocols.includes(url.protocol) || url.hostname === '') {
    return `must be a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(', ')} and names a host`;
  }
  if (url.username !== '' || url.password !== '') {
    return 'must have no user or password in it: MQTT_USERNAME and MQTT_PASSWORD say them, or files (MQTT_USERNAME_FILE, MQTT_PASSWORD_FILE)';
  }
  if (/[?#]/u.test(text)) return 'must have no query: what it could say, other settings say';
  const isPathKnown = url.protocol === 'ws:' || url.protocol === 'wss:';
  if (!isPathKnown && url.pathname.length > 1) return 'must have no path: only ws:// and wss:// know one';
  return null;
}

const labels = /^[a-z\d_-]+(?:\.[a-z\d_-]+)*$/iu;

export const HostName = z
  .string()
  .max(253)
  .refine(
    (text) => labels.test(text) && isIP(text) === 0,
    'must be a host name; no certificate is asked for by address',
  );

type TlsSettings<Url extends string | null> = {
  readonly MQTT_URL: Url;
  readonly MQTT_CA_FILE: string | null;
  readonly MQTT_CERT_FILE: string | null;
  readonly MQTT_KEY_FILE: string | null;
  readonly MQTT_SERVER_NAME: string | null;
};

export function tlsProblems(settings: TlsSettings<string | null>, readFile: (path: string) => string): string[] {
  const { MQTT_URL, MQTT_CA_FILE, MQTT_CERT_FILE, MQTT_KEY_FILE, MQTT_SERVER_NAME } = settings;
  if (MQTT_URL === null || !/^(?:mqtts|wss):/iu.test(MQTT_URL)) {
    const why = MQTT_URL === null ? 'the embedded broker has no TLS' : 'MQTT_URL asks for no TLS';
    const given = Object.entries({ MQTT_CA_FILE, MQTT_CERT_FILE, MQTT_KEY_FILE, MQTT_SERVER_NAME });
    return given.flatMap(([key, value]) =>
      value === null ? [] : [`${key}: needs an MQTT_URL of mqtts:// or wss://, because ${why}`],
    );
  }
  const halves = [];
  if (MQTT_CERT_FILE === null && MQTT_KEY_FILE !== null) halves.push('MQTT_KEY_FILE: needs MQTT_CERT_FILE');
  if (MQTT_CERT_FILE !== null && MQTT_KEY_FILE === null) halves.push('MQTT_CERT_FILE: needs MQTT_KEY_FILE');
  const files = readTlsFiles({ ca: MQTT_CA_FILE, cert: MQTT_CERT_FILE, key: MQTT_KEY_FILE }, readFile);
  const wrong = files.kind === 'texts' ? [] : files.problems;
  return [...halves, ...wrong.map(({ file, sentence }) => `MQTT_${file.toUpperCase()}_FILE: ${sentence}`)];
}

/** As those who connect want to know it. */
export function transportOf(settings: TlsSettings<string>) {
  return {
    url: settings.MQTT_URL,
    caFile: settings.MQTT_CA_FILE,
    certFile: settings.MQTT_CERT_FILE,
    keyFile: settings.MQTT_KEY_FILE,
    serverName: settings.MQTT_SERVER_NAME,
  };
}
