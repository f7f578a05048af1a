// The process: settings in, servers and app up, wait for a signal, everything down again. The only file that touches `process`.

import { readFileSync } from 'node:fs';
import closeWithGrace from 'close-with-grace';
import { startApp } from './app.ts';
import type { AppSettings } from './app-ingest.ts';
import { createLogger, type Logger } from './runtime/logger.ts';
import { StartError } from './runtime/start-error.ts';
import { parseSettings, type Settings, SettingsError, summaryOf } from './settings.ts';

/** From SIGTERM to the end, whatever hangs: orchestrators kill after ten seconds. */
const closeMsMax = 4_500;
/** Ctrl-C reaches the whole process group, and npm passes it on: it comes twice. Asking again cuts nothing short; SIGQUIT still does. */
const askedToEnd = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function main(): Promise<void> {
  const settings = parseSettings(process.env, (path) => readFileSync(path, 'utf8'));
  const logger = createLogger({ level: settings.LOG_LEVEL, isPretty: process.stdout.isTTY });
  logger.info({ event: 'willow.starting', settings: summaryOf(settings) });
  const running = new AsyncDisposableStack();
  const starting = start(settings, running, logger);
  // Installed before anything is up: a signal in the middle of the start waits for it, and then takes everything down.
  endOrderly(async (signal, err) => {
    if (err !== undefined) logger.fatal({ event: 'willow.failed', err });
    await starting.catch(() => undefined);
    await running.disposeAsync();
    logger.info({ event: 'willow.stopped', signal });
  });
  await starting;
}

/** Takes everything down once, and ends the process, when it is asked to end or has failed. */
function endOrderly(takeDown: (signal: string | undefined, err: Error | undefined) => Promise<void>): void {
  let isEnding = false;
  let asked: string | undefined;
  const { close } = closeWithGrace(
    { delay: closeMsMax, logger: false, skip: ['beforeExit', ...askedToEnd] },
    async ({ signal, err }) => {
      isEnding = true;
      await takeDown(asked ?? signal, err);
    },
  );
  for (const signal of askedToEnd) {
    process.on(signal, () => {
      if (isEnding) return;
      asked = signal;
      close();
    });
  }
}

async function start(settings: Settings, running: AsyncDisposableStack, logger: Logger): Promise<void> {
  const startedAtMs = performance.now();
  try {
    const appSettings = await startServers(settings, running, logger);
    const app = running.use(await startApp(appSettings, logger, Date.now));
    const startMs = Math.round(performance.now() - startedAtMs);
    logger.info({ event: 'willow.ready', http: app.httpUrl, mqtt: appSettings.MQTT_URL, startMs });
    if (process.stdout.isTTY) process.stdout.write(welcome(settings, app.httpUrl, appSettings.MQTT_URL));
  } catch (error) {
    await running.disposeAsync();
    throw error;
  }
}

/** The embedded servers stand in for those that no URL names; the app cannot tell them apart. */
async function startServers(settings: Settings, running: AsyncDisposableStack, logger: Logger): Promise<AppSettings> {
  let { MQTT_URL, DATABASE_URL, SECRET_KEY } = settings;
  if (DATABASE_URL === null) {
    const { startEmbeddedDatabase } = await import('./embedded/database.ts');
    const database = running.use(await startEmbeddedDatabase({ dataDir: settings.DATA_DIR }));
    DATABASE_URL = database.url;
    logger.info({ event: 'embedded.database', dataDir: settings.DATA_DIR });
    const { keepSecretKey } = await import('./embedded/secret-key.ts');
    SECRET_KEY ??= await keepSecretKey(settings.DATA_DIR);
  }
  if (MQTT_URL === null && settings.ROLES.includes('ingest')) {
    const { startEmbeddedBroker } = await import('./embedded/broker.ts');
    const broker = running.use(
      await startEmbeddedBroker({ port: settings.EMBEDDED_MQTT_PORT, subscriber: settings.MQTT_CLIENT_ID }),
    );
    MQTT_URL = broker.url;
    logger.info({ event: 'embedded.broker', url: broker.url });
  }
  return { ...settings, DATABASE_URL, SECRET_KEY, MQTT_URL: MQTT_URL ?? 'mqtt://127.0.0.1' };
}

function welcome(settings: Settings, httpUrl: string, mqttUrl: string): string {
  return `
  Willow is ready.
    API     ${httpUrl}
    broker  ${mqttUrl}${settings.MQTT_URL === null ? '  (embedded, to try things out)' : ''}
${settings.MQTT_URL === null ? thingsToTry(settings, httpUrl, new URL(mqttUrl)) : ''}
`;
}

function thingsToTry(settings: Settings, httpUrl: string, { hostname, port }: URL): string {
  const broker = `-h ${hostname} -p ${port}`;
  return `
  Try it:
    mosquitto_sub ${broker} -t any --will-topic ${settings.LOGOUT_TOPIC} --will-payload 42 --will-qos 1 &
    mosquitto_pub ${broker} -q 1 -t ${settings.LOGIN_TOPIC} -m 42
    curl ${httpUrl}/users/42/presence      # online
    kill -9 %1                                          # the client vanishes
    curl ${httpUrl}/users/42/presence      # lost; offline when the grace of ${settings.GRACE_MS} ms is over
`;
}

try {
  await main();
} catch (error) {
  // What the user can mend is said in a sentence; the rest is a defect, and its stack helps to find it.
  const isExpected = error instanceof StartError || error instanceof SettingsError;
  process.stderr.write(
    `willow: ${isExpected ? error.message : error instanceof Error ? error.stack : String(error)}\n`,
  );
  process.exitCode = 1;
}
