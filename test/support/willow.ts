// A real Willow process of a test's own, spoken to as anybody would: by environment, signals, HTTP and its log.

import type { eventBody, presenceBody } from '../../src/http/render.ts';
import { type Child, startChild } from './process.ts';
import { until } from './until.ts';

type Presence = ReturnType<typeof presenceBody>;

type LoggedEvent = ReturnType<typeof eventBody>;

type LogLine = { readonly level: string; readonly event: string; readonly [field: string]: unknown };

export type Willow = AsyncDisposable & {
  readonly child: Child;
  readonly http: string;
  /** The first log line with this event, earlier or later. */
  readonly logged: (event: string) => Promise<LogLine>;
  readonly log: () => readonly LogLine[];
  readonly get: <Body = unknown>(path: string) => Promise<{ readonly status: number; readonly body: Body }>;
  readonly presence: (userId: string) => Promise<Presence>;
  /** Presence, once it is as wanted. */
  readonly presenceWhen: (userId: string, isWanted: (presence: Presence) => boolean) => Promise<Presence>;
  /** The value of a counter, summed over the series that have these labels. */
  readonly metric: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number>;
  /** Every event of a user, oldest first. */
  readonly events: (userId: string) => Promise<readonly LoggedEvent[]>;
};

/** One for all, so that a second process can open what a first one sealed. */
export const secretKey = Buffer.alloc(32, 7).toString('base64url');

type WillowEnvironment = Readonly<Record<string, string>>;

type WillowOptions = {
  /** As `ulimit -n` says it. */
  readonly openFilesMax?: number;
};

export async function startWillow(environment: WillowEnvironment, options: WillowOptions = {}): Promise<Willow> {
  const { PATH, HOME } = process.env;
  const ports = { HTTP_PORT: '0', EMBEDDED_MQTT_PORT: '0' };
  // What a test says happened on some day is there however much later it runs.
  const days = { EVENT_RETENTION_DAYS: '3650' };
  const env = { PATH, HOME, ...ports, ...days, SECRET_KEY: secretKey, LOG_LEVEL: 'debug', ...environment };
  const { openFilesMax } = options;
  const limited = openFilesMax === undefined ? [] : ['sh', '-c', `ulimit -n ${openFilesMax}; exec "$@"`, 'sh'];
  const [command, ...args] = [...limited, process.execPath, 'src/main.ts'];
  const child = await startChild(command, args, { env });
  try {
    const ready = await child.line((line) => eventOf(line, 'willow.ready'), 'willow.ready');
    return willowOf(child, String(ready['http']));
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
}

function willowOf(child: Child, http: string): Willow {
  const get = async <Body>(path: string) => {
    const response = await fetch(`${http}${path}`);
    return { status: response.status, body: (await response.json()) as Body };
  };
  const presence = async (userId: string) =>
    (await get<Presence>(`/users/${encodeURIComponent(userId)}/presence`)).body;
  return {
    child,
    http,
    get,
    presence,
    logged: (event) => child.line((line) => eventOf(line, event), event),
    log: () => child.lines.flatMap((line) => parseLine(line) ?? []),
    presenceWhen: (userId, isWanted) =>
      until(`presence of ${userId} as wanted`, async () => {
        const seen = await presence(userId);
        return isWanted(seen) && seen;
      }),
    events: async (userId) =>
      (await get<{ data: LoggedEvent[] }>(`/users/${encodeURIComponent(userId)}/events?limit=1000`)).body.data,
    metric: async (name, labels = {}) => sumOf(await (await fetch(`${http}/metrics`)).text(), name, labels),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

function eventOf(line: string, event: string): LogLine | undefined {
  const parsed = parseLine(line);
  return parsed?.event === event ? parsed : undefined;
}

function parseLine(line: string): LogLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}

function sumOf(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  let sum = 0;
  for (const line of text.split('\n')) {
    const [series = '', value = ''] = line.split(' ');
    const isNamed = series === name || series.startsWith(`${name}{`);
    if (isNamed && wanted.every((label) => series.includes(label))) sum += Number(value);
  }
  return sum;
}
