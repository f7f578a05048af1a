// The relations between settings that are right by themselves: what contradicts what, and what needs what. All of them are told at once;
// nothing is said of a setting that is wrong by itself, for nobody knows what it was meant to be.

import { isIP } from 'node:net';
import { tlsProblems } from './broker-settings.ts';
import { howToMakeAKey } from './runtime/secret-key.ts';
import type { Settings } from './settings.ts';

type ReadFile = (path: string) => string;
type Rule = (settings: Partial<Settings>, readFile: ReadFile) => string[];

/** A sentence for each, with the remedy. Settings that are wrong by themselves are left out. */
export function contradictions(settings: Partial<Settings>, readFile: ReadFile): string[] {
  return rules.flatMap((ruleOf) => ruleOf(settings, readFile));
}

/** It sees what it says it reads, and is asked when all of that is right. */
function rule<N extends keyof Settings>(
  reads: readonly N[],
  problems: (settings: Pick<Settings, N>, readFile: ReadFile) => string[],
): Rule {
  return (settings, readFile) =>
    reads.every((name) => name in settings) ? problems(settings as Settings, readFile) : [];
}

const rules: readonly Rule[] = [
  rule(['HTTP_HOST', 'API_KEY'], ({ HTTP_HOST, API_KEY }) =>
    isLoopback(HTTP_HOST) || API_KEY !== null
      ? []
      : [
          `API_KEY: is needed, because HTTP_HOST is ${HTTP_HOST}: without a key the API serves on loopback only (127.0.0.1, ::1, localhost)`,
        ],
  ),
  rule(['LOGIN_TOPIC', 'LOGOUT_TOPIC'], ({ LOGIN_TOPIC, LOGOUT_TOPIC }) =>
    `${LOGIN_TOPIC}/`.startsWith(`${LOGOUT_TOPIC}/`) || `${LOGOUT_TOPIC}/`.startsWith(`${LOGIN_TOPIC}/`)
      ? ['LOGIN_TOPIC and LOGOUT_TOPIC: neither may be the other, or below it']
      : [],
  ),
  rule(['MQTT_SHARED_GROUP', 'MQTT_URL', 'ROLES'], ({ MQTT_SHARED_GROUP, MQTT_URL, ROLES }) =>
    MQTT_SHARED_GROUP !== null && MQTT_URL === null && ROLES.includes('ingest')
      ? ['MQTT_SHARED_GROUP: needs MQTT_URL, because the embedded broker has no shared subscriptions']
      : [],
  ),
  // Whoever does not listen to the broker needs nothing of it, and may not have the files.
  rule(
    ['ROLES', 'MQTT_URL', 'MQTT_CA_FILE', 'MQTT_CERT_FILE', 'MQTT_KEY_FILE', 'MQTT_SERVER_NAME'],
    (settings, readFile) => (settings.ROLES.includes('ingest') ? tlsProblems(settings, readFile) : []),
  ),
  rule(['SECRET_KEY', 'DATABASE_URL', 'ROLES'], ({ SECRET_KEY, DATABASE_URL, ROLES }) =>
    SECRET_KEY === null && DATABASE_URL !== null && ROLES.includes('webhooks')
      ? [
          `SECRET_KEY: is needed, because DATABASE_URL is set: the secrets of webhooks are encrypted with it; ${howToMakeAKey}, or leave webhooks out of ROLES`,
        ]
      : [],
  ),
  rule(['SECRET_KEY', 'DATABASE_URL', 'REQUIRE_TICKETS'], ({ SECRET_KEY, DATABASE_URL, REQUIRE_TICKETS }) =>
    SECRET_KEY === null && DATABASE_URL !== null && REQUIRE_TICKETS
      ? [`REQUIRE_TICKETS: needs SECRET_KEY, because DATABASE_URL is set: tickets are signed with it; ${howToMakeAKey}`]
      : [],
  ),
];

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
