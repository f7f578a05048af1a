import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { unframed } from '../support/framing.ts';
import { findFreePort } from '../support/free-port.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { announced, announcedWhen, openStage, type Stage, settled, startListening } from '../support/stage.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { openVoice } from '../support/voice.ts';
import type { Willow } from '../support/willow.ts';

const graceMs = 1_500;
const environment = { GRACE_MS: String(graceMs) };

const identity = (userId: string, epoch: number) => ({ userId, sessionId: 'phone', epoch });
const started = ['session.started phone 1', 'user.online phone 1'];
const ended = ['session.ended phone 1 will', 'user.offline phone 1 will'];

async function lost(willow: Willow, userId: string) {
  return willow.presenceWhen(userId, ({ sessions }) => sessions[0]?.status === 'lost');
}

async function timeOf(database: TestDatabase, statement: string, ...values: string[]): Promise<number | null> {
  const { rows } = await database.pool.query<{ time: Date | null }>(statement, values);
  return rows[0]?.time?.getTime() ?? null;
}

const upSince = (database: TestDatabase) => timeOf(database, 'select connected_since as time from links');
const deadline = (database: TestDatabase, userId: string) =>
  timeOf(database, 'select deadline_at as time from sessions where user_id = $1', userId);

async function pastDeadline(database: TestDatabase, userId: string): Promise<void> {
  const deadlineMs = await deadline(database, userId);
  if (deadlineMs === null) throw new Error(`${userId} has no deadline`);
  await until(`the deadline of ${userId} to pass`, () => Date.now() > deadlineMs);
}

async function endedAtMs(willow: Willow, userId: string): Promise<number> {
  const events = await willow.events(userId);
  return Date.parse(events.find(({ type }) => type === 'session.ended')?.at ?? '');
}

describe('while the link is up', () => {
  let stage: Stage;
  let brief: Willow;

  beforeAll(async () => {
    stage = await openStage({ GRACE_MS: '3600000' });
    brief = await stage.open(environment);
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  test('a return within grace is never announced: the session lives on as if nothing had happened', async () => {
    const { willow, voice } = stage;
    await voice.say('/login', identity('back', 1));
    await voice.say('/logout', identity('back', 1));
    const { sessions } = await lost(willow, 'back');
    await voice.say('/login', identity('back', 2));
    const online = await willow.presenceWhen('back', (presence) => presence.sessions[0]?.status === 'online');
    expect(online).toMatchObject({ status: 'online', sequence: 2, sessions: [{ epoch: 2 }] });
    expect(online.sessions[0]?.startedAt).toBe(sessions[0]?.startedAt);
    expect(await announced(willow, 'back')).toEqual(started);
  });

  test('a return without epochs within grace is never announced either', async () => {
    const { willow, voice } = stage;
    await voice.say('/login', 'bare');
    await voice.say('/logout', 'bare');
    await lost(willow, 'bare');
    await voice.say('/login', 'bare');
    await willow.presenceWhen('bare', ({ sessions }) => sessions[0]?.status === 'online');
    expect(await announced(willow, 'bare')).toEqual(['session.started default 1', 'user.online default 1']);
  });

  test('the birth of the dead connection, repeated, does not bring a lost session back', async () => {
    const { willow, voice } = stage;
    for (const topic of ['/login', '/logout', '/login']) await voice.say(topic, identity('echo', 1));
    await settled(willow, voice);
    expect((await willow.presence('echo')).sessions).toMatchObject([{ status: 'lost', epoch: 1 }]);
  });

  test('grace that is over ends the session, and not a moment before', async () => {
    const { voice } = stage;
    await voice.say('/login', identity('gone', 1));
    await voice.say('/logout', identity('gone', 1));
    const { lastSeenAt } = await lost(brief, 'gone');
    expect(await announcedWhen(brief, 'gone', 4)).toEqual([...started, ...ended]);
    expect(await endedAtMs(brief, 'gone')).toBeGreaterThan(Date.parse(lastSeenAt ?? '') + graceMs);
  });
});

describe.concurrent('grace that is over while nobody listens', () => {
  test('a Willow that was down decides only when it has listened for longer than the grace', async () => {
    await using mosquitto = await startMosquitto();
    await using database = await createDatabase();
    await using voice = await openVoice(mosquitto.url);
    {
      await using willow = await startListening(mosquitto, database, environment);
      for (const userId of ['saved', 'doomed']) {
        await voice.say('/login', identity(userId, 1));
        await voice.say('/logout', identity(userId, 1));
        await lost(willow, userId);
      }
      expect(await willow.child.end('SIGTERM')).toBe(0);
    }
    await pastDeadline(database, 'doomed');
    await voice.say('/login', identity('saved', 2));
    await using willow = await startListening(mosquitto, database, environment);
    const upSinceMs = await until('the link to be told', () => upSince(database));
    expect(await announcedWhen(willow, 'doomed', 4)).toEqual([...started, ...ended]);
    expect(await endedAtMs(willow, 'doomed')).toBeGreaterThan(upSinceMs + graceMs);
    // Its birth had waited at the broker, and was heard before anything lapsed.
    expect((await willow.presence('saved')).sessions).toMatchObject([{ status: 'online', epoch: 2 }]);
    expect(await announced(willow, 'saved')).toEqual(started);
  });

  test('nothing lapses while the link is cut; a birth that the broker kept meanwhile saves the session', async () => {
    await using mosquitto = await startMosquitto();
    await using database = await createDatabase();
    await using link = await startTcpProxy(mosquitto.port, unframed);
    await using voice = await openVoice(mosquitto.url);
    await using willow = await startListening({ url: `mqtt://127.0.0.1:${link.port}` }, database, environment);
    for (const userId of ['saved', 'doomed']) {
      await voice.say('/login', identity(userId, 1));
      await voice.say('/logout', identity(userId, 1));
      await lost(willow, userId);
    }
    link.pointTo(await findFreePort());
    expect(link.cut()).toBe(1);
    await willow.logged('link.down');
    await pastDeadline(database, 'doomed');
    await willow.presenceWhen('doomed', ({ stale }) => stale);
    expect((await willow.presence('doomed')).sessions).toMatchObject([{ status: 'lost' }]);
    await voice.say('/login', identity('saved', 2));
    const cutUntilMs = Date.now();
    link.pointTo(mosquitto.port);
    const isBack: Parameters<Willow['presenceWhen']>[1] = ({ sessions, stale }) =>
      sessions[0]?.status === 'online' && sessions[0].epoch === 2 && !stale;
    await willow.presenceWhen('saved', isBack);
    expect(await announcedWhen(willow, 'doomed', 4)).toEqual([...started, ...ended]);
    expect(await endedAtMs(willow, 'doomed')).toBeGreaterThan(cutUntilMs + graceMs);
    expect(await announced(willow, 'saved')).toEqual(started);
  });

  test('a broker that is restarted ends nobody whose client comes back with it', async () => {
    await using mosquitto = await startMosquitto();
    await using database = await createDatabase();
    await using willow = await startListening(mosquitto, database, environment);
    {
      await using voice = await openVoice(mosquitto.url);
      await voice.say('/login', identity('doomed', 1));
    }
    // As a client's own library does it: reconnect at once, and a birth with a newer epoch after every CONNACK.
    let epoch = 0;
    const will = {
      topic: '/logout',
      payload: Buffer.from(JSON.stringify(identity('saved', 1))),
      qos: 1,
      retain: false,
    } as const;
    await using device = await openVoice(mosquitto.url, { reconnectPeriod: 20, will, clientId: 'device' });
    const bear = () => device.say('/login', identity('saved', (epoch += 1))).catch(() => undefined);
    device.client.on('connect', () => void bear());
    await bear();
    await willow.presenceWhen('saved', ({ status }) => status === 'online');
    await mosquitto.stop('SIGTERM');
    await willow.logged('link.down');
    await willow.presenceWhen('saved', ({ stale }) => stale);
    // The broker said its farewell wills in vain, or Willow heard them: either way nothing may be decided while it is away.
    const awayUntilMs = Date.now() + graceMs + 500;
    await until('longer than the grace', () => Date.now() > awayUntilMs);
    expect((await willow.presence('saved')).status).toBe('online');
    await mosquitto.restart();
    await willow.presenceWhen(
      'saved',
      ({ sessions }) => sessions[0]?.status === 'online' && sessions[0].epoch === epoch && epoch > 1,
    );
    expect(await announced(willow, 'saved')).toEqual(started);
    expect((await willow.presence('doomed')).status).toBe('online');
  });
});
