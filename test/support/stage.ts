// What most flow tests play on: a Mosquitto, a database, a Willow between them, and a voice on the broker.

import { randomUUID } from 'node:crypto';
import { createDatabase, type TestDatabase } from './database.ts';
import { type Mosquitto, type MosquittoOptions, startMosquitto } from './mosquitto.ts';
import { until } from './until.ts';
import { openVoice, type Voice } from './voice.ts';
import { startWillow, type Willow } from './willow.ts';

/** Less than a test may take, so that what is missing is named. */
const waitMsMax = 40_000;

type Environment = Readonly<Record<string, string>>;

export type Stage = AsyncDisposable & {
  readonly mosquitto: Mosquitto;
  readonly database: TestDatabase;
  readonly willow: Willow;
  readonly voice: Voice;
  /** Another Willow that hears the same broker, with other settings and a database of its own. */
  readonly open: (environment: Environment) => Promise<Willow>;
};

export async function openStage(environment: Environment = {}, options: MosquittoOptions = {}): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const mosquitto = opening.use(await startMosquitto(options));
  const database = opening.use(await createDatabase());
  const willow = opening.use(await startListening(mosquitto, database, environment));
  const voice = opening.use(await openVoice(mosquitto.url));
  const opened = opening.move();
  return {
    mosquitto,
    database,
    willow,
    voice,
    open: async (others) => {
      const clientId = { MQTT_CLIENT_ID: `willow-${randomUUID()}` };
      return opened.use(
        await startListening(mosquitto, opened.use(await createDatabase()), { ...clientId, ...others }),
      );
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** A Willow that is connected to the broker, and subscribed. */
export async function startListening(
  mosquitto: Pick<Mosquitto, 'url'>,
  database: Pick<TestDatabase, 'url'>,
  environment: Environment,
): Promise<Willow> {
  const willow = await startWillow({ MQTT_URL: mosquitto.url, DATABASE_URL: database.url, ...environment });
  await willow.logged('link.up');
  return willow;
}

/** Everything that this voice said before has been settled by this Willow. */
export async function settled(willow: Willow, voice: Voice): Promise<void> {
  const userId = `afterwards-${randomUUID()}`;
  await voice.say('/login', { userId });
  await willow.presenceWhen(userId, ({ status }) => status === 'online');
}

/** What was announced of a user, as `type session epoch reason`; fails when the sequence has a gap. */
export async function announced(willow: Willow, userId: string): Promise<readonly string[]> {
  const events = await willow.events(userId);
  const gap = events.findIndex(({ sequence }, index) => sequence !== index + 1);
  if (gap >= 0) throw new Error(`the events of ${userId} have a gap: ${JSON.stringify(events)}`);
  return events.map(({ type, sessionId, epoch, reason }) =>
    [type, sessionId, epoch ?? '-', ...(reason === undefined ? [] : [reason])].join(' '),
  );
}

/** What was announced of a user, once there are so many events. */
export async function announcedWhen(willow: Willow, userId: string, count: number): Promise<readonly string[]> {
  const ask = async () => {
    const events = await announced(willow, userId);
    return events.length >= count && events;
  };
  return until(`${count} events of ${userId}`, ask, waitMsMax);
}

/** A counter, once it has reached this value; settled messages are counted a moment after they are visible. */
export async function countedWhen(
  willow: Willow,
  name: string,
  labels: Readonly<Record<string, string>>,
  count: number,
): Promise<number> {
  const ask = async () => {
    const value = await willow.metric(name, labels);
    return value >= count && value;
  };
  return until(`${name} ${JSON.stringify(labels)} at ${count}`, ask, waitMsMax);
}
