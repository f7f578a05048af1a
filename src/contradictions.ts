// The relations between settings that are right by themselves: what contradicts what, and what needs what. All of them are told at once.

import { isIP } from 'node:net';
import { tlsProblems } from './broker-settings.ts';
import { howToMakeAKey } from './runtime/secret-key.ts';
import type { Settings } from './settings.ts';

/** A sentence for each, with the remedy. */
export function contradictions(settings: Settings, readFile: (path: string) => string): string[] {
  const { HTTP_HOST, API_KEY, LOGIN_TOPIC, LOGOUT_TOPIC, MQTT_SHARED_GROUP, MQTT_URL, ROLES } = settings;
  const { DATABASE_URL, SECRET_KEY, REQUIRE_TICKETS } = settings;
  const problems: string[] = [];
  if (!isLoopback(HTTP_HOST) && API_KEY === null) {
    problems.push(
      `API_KEY: is needed, because HTTP_HOST is ${HTTP_HOST}: without a key the API serves on loopback only (127.0.0.1, ::1, localhost)`,
    );
  }
  if (`${LOGIN_TOPIC}/`.startsWith(`${LOGOUT_TOPIC}/`) || `${LOGOUT_TOPIC}/`.startsWith(`${LOGIN_TOPIC}/`)) {
    problems.push('LOGIN_TOPIC and LOGOUT_TOPIC: neither may be the other, or below it');
  }
  if (MQTT_SHARED_GROUP !== null && MQTT_URL === null && ROLES.includes('ingest')) {
    problems.push('MQTT_SHARED_GROUP: needs MQTT_URL, because the embedded broker has no shared subscriptions');
  }
  // Whoever does not listen to the broker needs nothing of it, and may not have the files.
  if (ROLES.includes('ingest')) problems.push(...tlsProblems(settings, readFile));
  if (SECRET_KEY === null && DATABASE_URL !== null && ROLES.includes('webhooks')) {
    problems.push(
      `SECRET_KEY: is needed, because DATABASE_URL is set: the secrets of webhooks are encrypted with it; ${howToMakeAKey}, or leave webhooks out of ROLES`,
    );
  }
  if (SECRET_KEY === null && DATABASE_URL !== null && REQUIRE_TICKETS) {
    problems.push(
      `REQUIRE_TICKETS: needs SECRET_KEY, because DATABASE_URL is set: tickets are signed with it; ${howToMakeAKey}`,
    );
  }
  return problems;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
