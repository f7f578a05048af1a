// Every setting, with its unit, its default and a sentence, and the relations between them. Parsed once, at the start; bad settings end it
// with all of their errors at once. A secret can also come from a file, named by the same variable with _FILE behind it.

import { z } from 'zod';
import { BrokerUrl, HostName } from './broker-settings.ts';
import { contradictions } from './contradictions.ts';
import { JsonPointer } from './core/json.ts';
import { Origins } from './http/cors.ts';
import { logLevels } from './runtime/logger.ts';
import {
  days,
  keys,
  leaseMilliseconds,
  milliseconds,
  name,
  networks,
  path,
  port,
  roles,
  root,
  rows,
  secret,
  url,
  yesOrNo,
} from './setting-values.ts';
import { tracingSettings } from './tracing-settings.ts';

type Setting = {
  readonly schema: z.ZodType;
  /** As it would stand in the environment; null where there is none. */
  readonly default: string | null;
  readonly description: string;
  readonly isSecret?: true;
};

/** In the order in which `.env.example` lists them. */
export const settingsTable = {
  HTTP_HOST: {
    schema: z.string().min(1).max(255),
    default: '127.0.0.1',
    description: 'The address the API listens on. Anything but loopback needs API_KEY.',
  },
  HTTP_PORT: { schema: port, default: '8080', description: 'The port the API listens on; 0 takes a free one.' },
  API_KEY: {
    schema: z.string().min(16, 'must have at least 16 characters').max(4_096),
    default: null,
    isSecret: true,
    description:
      'The first key, which may do everything, sent as "Authorization: Bearer …", at least 16 characters; POST /keys makes others. Without it no key is needed, and the API serves on loopback only.',
  },
  MQTT_URL: {
    schema: BrokerUrl,
    default: null,
    description:
      'The broker, such as mqtts://broker:8883; mqtt://, ws:// and wss:// too. Unset: an embedded one, to try things out.',
  },
  // With some brokers the user name is a token.
  MQTT_USERNAME: { schema: name, default: null, isSecret: true, description: 'The user name for the broker.' },
  MQTT_PASSWORD: { schema: secret, default: null, isSecret: true, description: 'The password for the broker.' },
  MQTT_CA_FILE: {
    schema: path,
    default: null,
    description:
      'The certificates (PEM) of those who may sign for a broker of mqtts:// or wss://, and of nobody else. Unset: whom Node trusts.',
  },
  MQTT_CERT_FILE: {
    schema: path,
    default: null,
    description: 'The certificate (PEM) that is shown to the broker, and its chain. Read again for each connection.',
  },
  MQTT_KEY_FILE: {
    schema: path,
    default: null,
    description: 'The key (PEM) of MQTT_CERT_FILE. Read again for each connection.',
  },
  MQTT_SERVER_NAME: {
    schema: HostName,
    default: null,
    description: 'The name that the certificate of the broker must have, where it is not the host in MQTT_URL.',
  },
  MQTT_CLIENT_ID: {
    schema: name,
    default: 'willow',
    description:
      'Names the one persistent session at the broker. Of several processes with the same one, one listens and the others stand by.',
  },
  MQTT_SHARED_GROUP: {
    schema: z
      .string()
      .regex(/^[^#+/\0]+$/u, 'must not contain + # or /')
      .max(256),
    default: null,
    description:
      'Shares the work among processes that each have an MQTT_CLIENT_ID of their own. Needs epochs, or a broker that dispatches by client id.',
  },
  EMBEDDED_MQTT_PORT: { schema: port, default: '1883', description: 'The port of the embedded broker, on 127.0.0.1.' },
  DATABASE_URL: {
    schema: url(['postgres://', 'postgresql://']),
    default: null,
    isSecret: true,
    description: 'PostgreSQL, such as postgres://user:password@host:5432/willow. Unset: an embedded one, in DATA_DIR.',
  },
  DATA_DIR: {
    schema: z.string().min(1),
    default: './.willow',
    description: 'The directory of the embedded PostgreSQL, and of the key that is made where SECRET_KEY is unset.',
  },
  LOGIN_TOPIC: { schema: root, default: '/login', description: 'The root of the topics that births are published on.' },
  LOGOUT_TOPIC: {
    schema: root,
    default: '/logout',
    description: 'The root of the topics that wills and goodbyes are published on.',
  },
  PAYLOAD_USER_ID: {
    schema: JsonPointer,
    default: '/userId',
    description: 'Where a JSON payload has the user id: a JSON Pointer.',
  },
  PAYLOAD_SESSION_ID: {
    schema: JsonPointer,
    default: '/sessionId',
    description: 'Where a JSON payload has the session id: a JSON Pointer.',
  },
  PAYLOAD_EPOCH: {
    schema: JsonPointer,
    default: '/epoch',
    description: 'Where a JSON payload has the epoch: a JSON Pointer.',
  },
  GRACE_MS: {
    schema: milliseconds,
    default: '5000',
    description: 'How long a lost session may return before its end is announced, in ms; 0 ends it at once.',
  },
  REPEAT_WINDOW_MS: {
    schema: milliseconds,
    default: '10000',
    description: 'How long after an end a will without an epoch counts as its repeat, in ms.',
  },
  TAKEOVER_WINDOW_MS: {
    schema: milliseconds,
    default: '1000',
    description:
      'How long after a login on a live session one will without an epoch counts as that of the connection it took over, in ms.',
  },
  LEASE_MS: {
    schema: leaseMilliseconds,
    default: '0',
    description: 'How long a session stays live without a sign of life, in ms; 0 for ever.',
  },
  REQUIRE_TICKETS: {
    schema: yesOrNo,
    default: 'false',
    description:
      'Whether every message needs a ticket that a prepared session gave its client: true or false. A ticket that is there must be valid either way.',
  },
  EVENT_RETENTION_DAYS: {
    schema: days,
    default: '30',
    description:
      'How many days events are kept, and sessions that have ended, 1 to 3650. What an enabled webhook has not got yet is kept longer; of each user his newest events and sessions for ever.',
  },
  QUARANTINE_ROWS_MAX: {
    schema: rows,
    default: '10000',
    description: 'How many messages that mean nothing are kept, the newest.',
  },
  SECRET_KEY: {
    schema: keys,
    default: null,
    isSecret: true,
    description:
      'What secrets in the database are encrypted with, and tickets signed: 32 bytes as base64url; several, with commas in between, the newest first. Unset: one is made and kept in DATA_DIR, where DATABASE_URL is unset too; elsewhere webhooks and tickets need it.',
  },
  WEBHOOK_ALLOW_HTTP: {
    schema: yesOrNo,
    default: 'false',
    description: 'Whether webhooks may go to http URLs: true or false. Otherwise to https only.',
  },
  WEBHOOK_ALLOW_NETWORKS: {
    schema: networks,
    default: null,
    description:
      'Networks that webhooks may go to besides public addresses, such as 10.1.0.0/16,fd00::/8. Unset: public addresses only.',
  },
  CORS_ORIGINS: {
    schema: Origins,
    default: null,
    description:
      'Origins whose web pages may call the API from a browser, such as https://app.example.com,http://localhost:5173. Unset: none.',
  },
  ROLES: {
    schema: roles,
    default: 'ingest,api,webhooks',
    description:
      'What this process does: ingest listens to the broker, api answers over HTTP, webhooks sends them. Health and metrics are always served.',
  },
  ...tracingSettings,
  LOG_LEVEL: {
    schema: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`),
    default: 'info',
    description: 'What is logged, and whatever is worse: trace, debug, info, warn, error, fatal; or silent.',
  },
} as const satisfies Record<string, Setting>;

type Name = keyof typeof settingsTable;
type Parsed<N extends Name> = z.output<(typeof settingsTable)[N]['schema']>;
export type Settings = {
  readonly [N in Name]: (typeof settingsTable)[N]['default'] extends null ? Parsed<N> | null : Parsed<N>;
};

export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  constructor(problems: readonly string[]) {
    super(`the settings are wrong:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws SettingsError with every error there is. */
export function parseSettings(environment: Environment, readFile: (path: string) => string): Settings {
  const problems: string[] = [];
  /** Those that are right by themselves. */
  const settings: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries<Setting>(settingsTable)) {
    const before = problems.length;
    const text = textOf(key, setting, environment, readFile, problems) ?? setting.default;
    if (problems.length > before) continue;
    const parsed = text === null ? { success: true as const, data: null } : setting.schema.safeParse(text);
    if (parsed.success) settings[key] = parsed.data;
    else problems.push(...parsed.error.issues.map(({ message }) => `${key}: ${message}`));
  }
  problems.push(...contradictions(settings as Partial<Settings>, readFile));
  if (problems.length > 0) throw new SettingsError(problems);
  return Object.freeze(settings as Settings);
}

/** The text of a setting, or of the file that a secret is kept in; an empty variable is an unset one. */
function textOf(
  key: string,
  setting: Setting,
  environment: Environment,
  readFile: (path: string) => string,
  problems: string[],
): string | null {
  const text = environment[key] || null;
  const path = (setting.isSecret && environment[`${key}_FILE`]) || null;
  if (path === null) return text;
  if (text !== null) {
    problems.push(`${key}: set it or ${key}_FILE, not both`);
    return null;
  }
  try {
    return readFile(path).trim();
  } catch (error) {
    problems.push(`${key}_FILE: ${error instanceof Error ? error.message : 'the file cannot be read'}`);
    return null;
  }
}

/** What a log may show: the values that differ from their defaults, secrets as `(set)`. */
export function summaryOf(settings: Settings): Record<string, unknown> {
  const entries = Object.entries<Setting>(settingsTable).flatMap(([key, setting]) => {
    const value = settings[key as Name];
    const isDefault =
      value === null || (setting.default !== null && isEqual(value, setting.schema.parse(setting.default)));
    return isDefault ? [] : [[key, setting.isSecret ? '(set)' : value]];
  });
  return Object.fromEntries(entries) as Record<string, unknown>;
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
