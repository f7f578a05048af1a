// Users who come and go at random, through a real broker and the API: births, wills, goodbyes, takeovers, kicks, logins that a backend
// prepares, wills of strangers; and clients that are processes, killed with SIGKILL.

import { setTimeout as delay } from 'node:timers/promises';
import { startMortal } from './mortal.ts';
import type { Mosquitto } from './mosquitto.ts';
import { type Prepared, prepare, withEpoch } from './prepared.ts';
import type { Chance } from './storm.ts';
import { openVoice, type Voice, withWill } from './voice.ts';

export type Crowd = AsyncDisposable & {
  /** Nobody comes any more; resolves when the last has gone, or stays. */
  readonly end: () => Promise<void>;
  /** How often each of the ways was gone, to the end. */
  readonly ways: () => Readonly<Record<string, number>>;
};

type Place = {
  readonly mosquitto: Pick<Mosquitto, 'url' | 'port'>;
  /** The API, wherever it is just now. */
  readonly http: () => string;
  readonly chance: Chance;
  readonly users: number;
};

const devices = ['phone', 'tablet', 'watch'];
const livesAtOnce = 8;
const lingerMsMax = 250;
/** Between two lives of one and the same device holder, so that the machine has time for others. */
const restMsMax = 120;
/** Three processes for one life are dear. */
const deadMsMax = 600;

export function startCrowd(place: Place): Crowd {
  const stop = new AbortController();
  const counts: Record<string, number> = {};
  const kinds = Object.keys(ways) as (keyof typeof ways)[];
  let lastEpoch = Date.now();
  const nextEpoch = () => (lastEpoch += 1);
  const live = async (kind: keyof typeof ways, userId: string, sessionId: string) => {
    await using voice = await openConnection(place, userId, sessionId, nextEpoch());
    await ways[kind]({ ...place, ...voice, userId, sessionId, nextEpoch });
    counts[kind] = (counts[kind] ?? 0) + 1;
  };
  // Each holds devices of its own, so that a session has one connection at a time.
  const hold = async (holder: number) => {
    while (!stop.signal.aborted) {
      const userId = `user-${holder + livesAtOnce * place.chance.whole(Math.ceil(place.users / livesAtOnce))}`;
      const kind = place.chance.pick(kinds);
      // An API that is just being killed does not answer: then nothing was asked of it.
      await live(kind, userId, place.chance.pick(devices)).catch(ignoreUnlessBroker);
      await delay(place.chance.whole(restMsMax));
    }
  };
  const killProcesses = async () => {
    for (let died = 0; !stop.signal.aborted; died += 1) {
      const identity = { userId: `mortal-${died % 4}`, sessionId: 'process', epoch: nextEpoch() };
      const payload = JSON.stringify(identity);
      await using mortal = await startMortal('mosquitto_sub', {
        port: place.mosquitto.port,
        version: 5,
        clientId: `${identity.userId}-process`,
        will: { topic: '/logout', payload },
        birth: { topic: '/login', payload },
      });
      await delay(place.chance.whole(lingerMsMax));
      await mortal.die();
      counts['killed'] = (counts['killed'] ?? 0) + 1;
      await delay(place.chance.whole(deadMsMax));
    }
  };
  const all = Promise.all([killProcesses(), ...Array.from({ length: livesAtOnce }, (_, holder) => hold(holder))]);
  all.catch(() => undefined);
  const end = async () => {
    stop.abort();
    await all;
  };
  return { end, ways: () => counts, [Symbol.asyncDispose]: () => end().catch(() => undefined) };
}

type Connection = AsyncDisposable & { readonly voice: Voice; readonly epoch: number };

async function openConnection(
  { mosquitto }: Place,
  userId: string,
  sessionId: string,
  epoch: number,
): Promise<Connection> {
  const identity = { userId, sessionId, epoch };
  const voice = await openVoice(mosquitto.url, withWill('/logout', identity));
  await voice.say('/login', identity);
  return { voice, epoch, [Symbol.asyncDispose]: () => voice[Symbol.asyncDispose]() };
}

type Life = Place &
  Pick<Connection, 'voice' | 'epoch'> & {
    readonly userId: string;
    readonly sessionId: string;
    readonly nextEpoch: () => number;
  };

const linger = ({ chance }: Life) => delay(chance.whole(lingerMsMax));

const ways = {
  vanishes: async (life: Life) => {
    await linger(life);
    life.voice.vanish();
  },
  'says goodbye': async (life: Life) => {
    await linger(life);
    const { userId, sessionId, epoch } = life;
    await life.voice.say('/logout', { userId, sessionId, epoch, reason: 'logout' });
  },
  'comes back': async (life: Life) => {
    await linger(life);
    life.voice.vanish();
    await using again = await openConnection(life, life.userId, life.sessionId, life.nextEpoch());
    await linger(life);
    again.voice.vanish();
  },
  'is taken over': async (life: Life) => {
    await using second = await openConnection(life, life.userId, life.sessionId, life.nextEpoch());
    life.voice.vanish();
    await linger(life);
    second.voice.vanish();
  },
  'is kicked': async (life: Life) => {
    await linger(life);
    const session = life.chance.isIn(0.5) ? '' : `/${life.sessionId}`;
    await fetch(`${life.http()}/users/${life.userId}/sessions${session}`, { method: 'DELETE' });
  },
  'is prepared': async (life: Life) => {
    const isLive = life.chance.isIn(0.5);
    const { sessionId, birth, will }: Prepared = await prepare({ http: life.http() }, life.userId, { live: isLive });
    const epoch = life.nextEpoch();
    if (life.chance.isIn(0.8)) await life.voice.say(birth.topic, withEpoch(birth, epoch));
    await linger(life);
    if (life.chance.isIn(0.8)) await life.voice.say(will.topic, withEpoch(will, epoch));
    else await fetch(`${life.http()}/users/${life.userId}/sessions/${sessionId}`, { method: 'DELETE' });
  },
  'stays away': async (life: Life) => {
    await life.voice.say('/logout', `stranger-${life.userId}`);
  },
};

/** `fetch` says TypeError when nobody answers; `prepare` an Error with the status. */
function ignoreUnlessBroker(error: unknown): void {
  const isOfApi = error instanceof TypeError || (error instanceof Error && /^\d{3}: /.test(error.message));
  if (!isOfApi) throw error;
}
