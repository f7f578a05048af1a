// The settings of traces, by the names that OpenTelemetry has given them; see settings.ts.

import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { url } from './setting-values.ts';

/** `name=value` with commas in between, percent-encoded where needed: the form of W3C Baggage. */
const headers = z
  .string()
  .regex(/^[^=,\s]+=[^=,]*(?:,[^=,\s]+=[^=,]*)*$/u, 'must be name=value, with commas in between')
  .transform((text, context): Readonly<Record<string, string>> => {
    const found: Record<string, string> = {};
    for (const pair of text.split(',')) {
      const [name = '', value = ''] = pair.split('=').map((part) => part.trim());
      const problem = problemOf(name, value);
      if (problem !== null) {
        context.addIssue(problem);
        return z.NEVER;
      }
      found[name] = decodeURIComponent(value);
    }
    return found;
  });

/** Never says the value, which may be a secret. */
function problemOf(name: string, value: string): string | null {
  if (!holds(() => decodeURIComponent(value))) return 'must be percent-encoded';
  if (!holds(() => validateHeaderName(name))) return `must have names of HTTP headers, and ${name} is none`;
  if (holds(() => validateHeaderValue(name, decodeURIComponent(value)))) return null;
  return `must have values of HTTP headers, and that of ${name} is none: it has a character that may not be there`;
}

function holds(claim: () => unknown): boolean {
  try {
    claim();
    return true;
  } catch {
    return false;
  }
}

const ratio = z
  .string()
  .regex(/^(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?)$/u, 'must be a number from 0 to 1')
  .transform(Number);

export const tracingSettings = {
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    schema: url(['http://', 'https://']),
    default: null,
    description:
      'Where traces are sent: the collector, such as http://collector:4318, to which /v1/traces is added. Unset: nothing is traced.',
  },
  OTEL_EXPORTER_OTLP_HEADERS: {
    schema: headers,
    default: null,
    isSecret: true,
    description: 'Headers for the collector, such as Authorization=Bearer%20…, with commas in between.',
  },
  OTEL_SERVICE_NAME: {
    schema: z.string().min(1).max(256),
    default: 'willow',
    description: 'The name of this service in traces.',
  },
  OTEL_TRACES_SAMPLER_ARG: {
    schema: ratio,
    default: '1',
    description:
      'Which part of all traces is sent, from 0 to 1. Of those that are, everything is, whichever process it comes from.',
  },
} as const;
