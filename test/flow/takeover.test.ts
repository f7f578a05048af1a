import { afterAll, beforeAll, expect, test } from 'vitest';
import { announced, countedWhen, openStage, type Stage, settled } from '../support/stage.ts';
import { openVoice, type Voice, withWill } from '../support/voice.ts';

const reconnects = 1_000;

let stage: Stage;

beforeAll(async () => {
  // Between the will of the old connection and the birth of the new one a session is lost: longer than any such moment.
  stage = await openStage({ GRACE_MS: '60000' });
});

afterAll(() => stage[Symbol.asyncDispose]());

/** Asks for presence without a pause until told to stop; returns how often each status was seen. */
function watch(userId: string): { readonly stop: () => Promise<ReadonlyMap<string, number>> } {
  const seen = new Map<string, number>();
  let isStopped = false;
  const watching = (async () => {
    while (!isStopped) {
      const { status } = await stage.willow.presence(userId);
      seen.set(status, (seen.get(status) ?? 0) + 1);
    }
  })();
  return {
    stop: async () => {
      isStopped = true;
      await watching;
      return seen;
    },
  };
}

const identity = (userId: string, epoch: number) => ({ userId, sessionId: 'phone', epoch });

async function online(userId: string): Promise<void> {
  await stage.willow.presenceWhen(userId, ({ status }) => status === 'online');
}

test('a client id that reconnects a thousand times is never offline, though the broker publishes every old will', async () => {
  const { willow, mosquitto } = stage;
  let current: Voice | null = null;
  let watching: ReturnType<typeof watch> | null = null;
  try {
    for (let epoch = 1; epoch <= reconnects; epoch += 1) {
      const version = epoch % 2 === 0 ? 4 : 5;
      const will = withWill('/logout', identity('restless', epoch));
      // The broker closes the connection before this one, and publishes its will.
      const next: Voice = await openVoice(mosquitto.url, { clientId: 'restless', protocolVersion: version, ...will });
      await next.say('/login', identity('restless', epoch));
      await current?.[Symbol.asyncDispose]();
      current = next;
      if (watching !== null) continue;
      await online('restless');
      watching = watch('restless');
    }
    await settled(willow, stage.voice);
    await countedWhen(willow, 'willow_signals_total', { kind: 'will' }, reconnects - 1);
    const presence = await willow.presenceWhen('restless', ({ sessions }) => sessions[0]?.epoch === reconnects);
    expect(presence.sessions).toMatchObject([{ sessionId: 'phone', status: 'online' }]);
    const statuses = await watching?.stop();
    expect([...(statuses?.keys() ?? [])]).toEqual(['online']);
    expect(await announced(willow, 'restless')).toEqual(['session.started phone 1', 'user.online phone 1']);
  } finally {
    await watching?.stop();
    await current?.[Symbol.asyncDispose]();
  }
});

test('without epochs too, a client that a broker takes over will first, birth second is never offline', async () => {
  const { willow, mosquitto } = stage;
  const takeovers = 50;
  const willsBefore = await willow.metric('willow_signals_total', { kind: 'will' });
  let current: Voice | null = null;
  for (let round = 0; round <= takeovers; round += 1) {
    const next: Voice = await openVoice(mosquitto.url, { clientId: 'bare', ...withWill('/logout', '{4242}') });
    await next.say('/login', '4242');
    await current?.[Symbol.asyncDispose]();
    current = next;
  }
  await countedWhen(willow, 'willow_signals_total', { kind: 'will' }, willsBefore + takeovers);
  const { sessions } = await willow.presenceWhen('4242', (presence) => presence.sessions[0]?.status === 'online');
  expect(sessions).toHaveLength(1);
  expect(await announced(willow, '4242')).toEqual(['session.started default 1', 'user.online default 1']);
  await current?.[Symbol.asyncDispose]();
});

test('an old will that arrives after the new birth is stale, a thousand times: presence does not move', async () => {
  const { willow, voice } = stage;
  const staleBefore = await willow.metric('willow_signals_total', { kind: 'will', outcome: 'stale' });
  await voice.say('/login', identity('haunted', 0));
  await online('haunted');
  const watching = watch('haunted');
  const said: Promise<void>[] = [];
  for (let epoch = 1; epoch <= reconnects; epoch += 1) {
    said.push(voice.say('/login', identity('haunted', epoch)));
    // One a round late by one connection, and now and then one that is late by many.
    said.push(voice.say('/logout', identity('haunted', epoch - 1)));
    if (epoch % 10 === 0) said.push(voice.say('/logout', identity('haunted', Math.floor(epoch / 2))));
  }
  await Promise.all(said);
  await settled(willow, voice);
  expect([...(await watching.stop()).keys()]).toEqual(['online']);
  expect(await announced(willow, 'haunted')).toEqual(['session.started phone 0', 'user.online phone 0']);
  const late = reconnects + reconnects / 10;
  const stale = { kind: 'will', outcome: 'stale' };
  expect(await countedWhen(willow, 'willow_signals_total', stale, staleBefore + late)).toBe(staleBefore + late);
  expect((await willow.presence('haunted')).sessions).toMatchObject([{ status: 'online', epoch: reconnects }]);
});

test('the will of the connection that is there does end it, after a thousand that were stale', async () => {
  const { willow, voice } = stage;
  await voice.say('/logout', identity('haunted', reconnects));
  const { sessions } = await willow.presenceWhen('haunted', (presence) => presence.sessions[0]?.status === 'lost');
  expect(sessions).toMatchObject([{ sessionId: 'phone', epoch: reconnects }]);
});
