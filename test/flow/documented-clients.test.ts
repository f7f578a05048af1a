// The clients of docs/clients.md do what the page says they do: they are taken from it, and run against a real broker.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { documented } from '../support/documented.ts';
import { findFreePort } from '../support/free-port.ts';
import { prepare } from '../support/prepared.ts';
import { type Child, startChild } from '../support/process.ts';
import { passwordOf, type Recipe, startRecipe } from '../support/recipe.ts';
import { announced, announcedWhen, openStage, type Stage, startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';
import type { Willow } from '../support/willow.ts';

let stage: Stage;
/** On the same broker, with a grace that nobody waits for. */
let patient: Willow;
let directory: string;
let backend: Backend;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '500' });
  patient = await stage.open({ GRACE_MS: '86400000' });
  directory = await mkdtemp(join(tmpdir(), 'willow-documented-'));
  await symlink(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(directory, 'node_modules'));
  await writeFile(join(directory, 'presence.mjs'), documented('docs/clients.md', 'js'));
  await writeFile(join(directory, 'presence.py'), documented('docs/clients.md', 'python'));
  await writeFile(join(directory, 'prepared.mjs'), documented('docs/clients.md', 'js prepared'));
  await writeFile(join(directory, 'prepared.py'), documented('docs/clients.md', 'python prepared'));
  backend = await openBackend(stage.willow, () => 'phone');
});

afterAll(async () => {
  await backend[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

type Backend = AsyncDisposable & {
  readonly of: (userId: string) => string;
  /** The session ids that came with each request, in order; undefined for none. */
  readonly asked: (string | undefined)[];
};

/** As an app's own: who asks stands in its address. */
async function openBackend(
  willow: Pick<Willow, 'http'>,
  sessionIdOf: (asked: string | undefined) => string,
  port = 0,
): Promise<Backend> {
  const asked: (string | undefined)[] = [];
  const answer = async (path: string, body: Readable) => {
    const { sessionId } = (await json(body)) as { readonly sessionId?: string };
    const userId = decodeURIComponent(path.slice(1));
    const prepared = await prepare(willow, userId, { sessionId: sessionIdOf(sessionId) });
    asked.push(sessionId);
    return JSON.stringify(prepared);
  };
  const server = createServer((request, response) => {
    void answer(request.url ?? '', request).then((text) => {
      response.setHeader('content-type', 'application/json').end(text);
    });
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  const { port: listening } = server.address() as AddressInfo;
  return {
    of: (userId) => `http://127.0.0.1:${listening}/${encodeURIComponent(userId)}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

type Place = {
  readonly url: string;
  readonly backend: (userId: string) => string;
  readonly env: Readonly<Record<string, string>>;
};
type Start = (userId: string, place?: Partial<Place>) => Promise<Child>;

const run =
  (command: string, file: string, more: (userId: string, place: Place) => readonly string[]): Start =>
  (userId, given = {}) => {
    const place = { url: stage.mosquitto.url, backend: backend.of, env: {}, ...given };
    const args = [join(directory, file), place.url, ...more(userId, place)];
    return startChild(command, args, { env: { ...process.env, ...place.env } });
  };

const bySession = (userId: string) => [userId, 'phone'];
const byBackend = (userId: string, place: Place) => [place.backend(userId)];
const python = '/usr/bin/python3';

const preparedClients = {
  'prepared MQTT.js': run(process.execPath, 'prepared.mjs', byBackend),
  'prepared Paho Python': run(python, 'prepared.py', byBackend),
} satisfies Record<string, Start>;

const clients = {
  'MQTT.js': run(process.execPath, 'presence.mjs', bySession),
  'Paho Python': run(python, 'presence.py', bySession),
  ...preparedClients,
} satisfies Record<string, Start>;

/** The broker closes the connection of a client for another one with the same client id, which leaves at once. */
async function steal(clientId: string): Promise<void> {
  const thief = await connectAsync(stage.mosquitto.url, { clientId, reconnectPeriod: 0 });
  await thief.endAsync();
}

describe.each(Object.entries(clients))('the %s client of the documents', (name, start) => {
  const userOf = (what: string) => `${name}-${what}`.toLowerCase().replaceAll(/[^a-z]+/g, '-');
  const epochWhenOnline = async (userId: string, after = 0, willow = patient) => {
    const { sessions } = await willow.presenceWhen(userId, ({ sessions: [session] }) => {
      return session?.status === 'online' && (session.epoch ?? 0) > after;
    });
    return sessions[0]?.epoch ?? 0;
  };

  test('is online with its birth, lost when it is killed, offline when the grace is over', async () => {
    const userId = userOf('crash');
    await using client = await start(userId);
    const epoch = await epochWhenOnline(userId);
    client.kill('SIGKILL');
    await stage.willow.presenceWhen(
      userId,
      ({ status, sessions }) => status === 'online' && sessions[0]?.status === 'lost',
    );
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'offline');
    expect(await announcedWhen(stage.willow, userId, 4)).toEqual([
      `session.started phone ${epoch}`,
      `user.online phone ${epoch}`,
      `session.ended phone ${epoch} will`,
      `user.offline phone ${epoch} will`,
    ]);
  });

  test('is offline at once when it says goodbye, and its will is not heard', async () => {
    const userId = userOf('goodbye');
    await using client = await start(userId);
    const epoch = await epochWhenOnline(userId);
    expect(await client.end('SIGTERM')).toBe(0);
    expect((await announcedWhen(stage.willow, userId, 4)).slice(2)).toEqual([
      `session.ended phone ${epoch} logout`,
      `user.offline phone ${epoch} logout`,
    ]);
  });

  test('comes back by itself with a larger epoch when it loses its connection, and a will to match; nobody is told', async () => {
    const userId = userOf('reconnect');
    await using client = await start(userId);
    const epoch = await epochWhenOnline(userId);
    await steal(`${userId}-phone`);
    await epochWhenOnline(userId, epoch);
    expect(await announced(patient, userId)).toEqual([`session.started phone ${epoch}`, `user.online phone ${epoch}`]);
    // The will of the new connection is its own, too.
    client.kill('SIGKILL');
    await patient.presenceWhen(userId, ({ sessions }) => sessions[0]?.status === 'lost');
  });

  test('is let in again after a crash, with a larger epoch', async () => {
    const userId = userOf('restart');
    await using first = await start(userId);
    const epoch = await epochWhenOnline(userId, 0, stage.willow);
    await first.end('SIGKILL');
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'offline');
    await using _second = await start(userId);
    await epochWhenOnline(userId, epoch, stage.willow);
  });
});

describe.each(Object.entries(preparedClients))('the %s client, when its ticket is renewed', (name, start) => {
  const userOf = (what: string) => `${name}-${what}`.toLowerCase().replaceAll(/[^a-z]+/g, '-');
  const renewing = (of: Backend) => ({ backend: of.of, env: { RENEW_SECONDS: '0.5' } });
  const renewed = (of: Backend) => until('a second answer', () => of.asked.length > 2);

  test('keeps its session: it says goodbye to the one that is online, and nothing is left', async () => {
    const userId = userOf('renewed-goodbye');
    await using fresh = await openBackend(stage.willow, (asked) => asked ?? randomUUID());
    await using client = await start(userId, renewing(fresh));
    const { sessions } = await stage.willow.presenceWhen(userId, ({ status }) => status === 'online');
    await renewed(fresh);
    expect(await client.end('SIGTERM')).toBe(0);
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'offline');
    const [{ sessionId, epoch } = { sessionId: '', epoch: 0 }] = sessions;
    expect((await announcedWhen(stage.willow, userId, 4)).slice(2)).toEqual([
      `session.ended ${sessionId} ${epoch} logout`,
      `user.offline ${sessionId} ${epoch} logout`,
    ]);
    expect(new Set(fresh.asked)).toEqual(new Set([undefined, sessionId]));
  });

  test('comes back as the same session, and nobody is told', async () => {
    const userId = userOf('renewed-reconnect');
    await using fresh = await openBackend(stage.willow, (asked) => asked ?? randomUUID());
    await using _client = await start(userId, renewing(fresh));
    const { sessions } = await patient.presenceWhen(userId, ({ status }) => status === 'online');
    const [{ sessionId, epoch } = { sessionId: '', epoch: 0 }] = sessions;
    await renewed(fresh);
    await steal(`${userId}-${sessionId}`);
    await patient.presenceWhen(userId, ({ sessions: [first] }) => (first?.epoch ?? 0) > (epoch ?? 0));
    expect(await announced(patient, userId)).toEqual([
      `session.started ${sessionId} ${epoch}`,
      `user.online ${sessionId} ${epoch}`,
    ]);
  });

  test('says goodbye to what its connection was opened with, even if the backend gives it another session', async () => {
    const userId = userOf('renewed-otherwise');
    await using careless = await openBackend(stage.willow, () => randomUUID());
    await using client = await start(userId, renewing(careless));
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'online');
    await renewed(careless);
    expect(await client.end('SIGTERM')).toBe(0);
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'offline');
    expect((await announced(stage.willow, userId)).at(-1)).toMatch(/^user\.offline .* logout$/u);
  });

  test('waits for a backend that is away when it starts', async () => {
    const userId = userOf('early');
    const port = await findFreePort();
    await using client = await start(userId, { backend: () => `http://127.0.0.1:${port}/${userId}` });
    await client.line((line) => line.startsWith('no ticket from the backend: '), 'a word on the backend');
    await using _late = await openBackend(stage.willow, (asked) => asked ?? randomUUID(), port);
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'online');
  });
});

describe('on the Mosquitto of the recipe, by TLS, with a password, and rules that bind a client to its own topics', () => {
  const resources = new AsyncDisposableStack();
  const names = Object.keys(clients);
  /** Of each client its own: the rules have names such as e-mail addresses in them, as they are. */
  const userOf = (name: string) => `ada-${names.indexOf(name)}@example.com`;
  let recipe: Recipe;
  let willow: Willow;

  beforeAll(async () => {
    recipe = resources.use(await startRecipe(['willow', ...names.map(userOf)]));
    const database = resources.use(await createDatabase());
    willow = resources.use(
      await startListening(recipe, database, {
        MQTT_CLIENT_ID: `willow-${randomUUID()}`,
        MQTT_USERNAME: 'willow',
        MQTT_PASSWORD: passwordOf('willow'),
        MQTT_CA_FILE: recipe.caFile,
        SECRET_KEY: Buffer.alloc(32, 7).toString('base64url'),
        GRACE_MS: '0',
      }),
    );
  });

  afterAll(() => resources.disposeAsync());

  test.each(Object.entries(clients))(
    'the %s client is heard: its birth, its goodbye and its will',
    async (name, start) => {
      const userId = userOf(name);
      await using own = await openBackend(willow, () => 'phone');
      const place = {
        url: recipe.url,
        backend: own.of,
        env: { BROKER_USER: userId, BROKER_PASSWORD: passwordOf(userId), BROKER_CA_FILE: recipe.caFile },
      };
      await using first = await start(userId, place);
      await willow.presenceWhen(userId, ({ status }) => status === 'online');
      expect(await first.end('SIGTERM')).toBe(0);
      await willow.presenceWhen(userId, ({ status }) => status === 'offline');
      await using second = await start(userId, place);
      await willow.presenceWhen(userId, ({ status }) => status === 'online');
      second.kill('SIGKILL');
      await willow.presenceWhen(userId, ({ status, sequence }) => status === 'offline' && sequence === 8);
      expect((await announced(willow, userId)).map((line) => line.split(' ')[3])).toEqual([
        undefined,
        undefined,
        'logout',
        'logout',
        undefined,
        undefined,
        'will',
        'will',
      ]);
    },
  );
});
