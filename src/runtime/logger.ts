// The log: JSON for machines, pretty lines for people on a terminal. One line per unit of work: an event name and fields.
// What may be secret is redacted by path; payloads are never passed in.

import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export type { Logger } from 'pino';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** What an error says; not what hangs on it (a database error carries its whole client, with the password). One without a stack hides its causes'. */
function describeError(error: unknown, hidesStack = error instanceof Error && error.stack === undefined): unknown {
  if (!(error instanceof Error)) return String(error);
  const code =
    'code' in error && (typeof error.code === 'string' || typeof error.code === 'number') ? error.code : undefined;
  const { name: type, message, stack, cause } = error;
  const shownStack = hidesStack ? {} : { stack };
  return {
    type,
    message,
    code,
    ...shownStack,
    ...(cause === undefined ? {} : { cause: describeError(cause, hidesStack) }),
  };
}

const secretNames = ['authorization', 'password', 'secret', 'key', 'payload'];

export function createLogger(options: { readonly level: LogLevel; readonly isPretty: boolean }): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: (error: unknown) => describeError(error) },
    redact: secretNames.flatMap((name) => [name, `*.${name}`]),
  };
  const destination = options.isPretty
    ? pretty({ sync: true, translateTime: 'HH:MM:ss' })
    : pino.destination({ sync: true });
  return pino(settings, destination);
}
