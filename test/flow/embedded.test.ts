import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { createHome, isAlive, postmasterPid } from '../support/embedded.ts';
import { mortalKinds, startMortal } from '../support/mortal.ts';
import { announced, announcedWhen } from '../support/stage.ts';
import { openVoice } from '../support/voice.ts';
import { startWillow, type Willow } from '../support/willow.ts';

async function brokerOf(willow: Willow): Promise<{ readonly url: string; readonly port: number }> {
  const { url } = await willow.logged('embedded.broker');
  return { url: String(url), port: Number(new URL(String(url)).port) };
}

const ended = (session: string, epoch: string) => [
  `session.started ${session} ${epoch}`,
  `user.online ${session} ${epoch}`,
  `session.ended ${session} ${epoch} will`,
  `user.offline ${session} ${epoch} will`,
];

test('with the embedded broker, which knows MQTT 3.1.1 only, the will of a killed client is heard', async () => {
  await using database = await createDatabase();
  await using willow = await startWillow({ DATABASE_URL: database.url, GRACE_MS: '100' });
  const { port } = await brokerOf(willow);
  expect(await willow.logged('link.up')).toMatchObject({ protocolVersion: 4 });
  await using mortals = new AsyncDisposableStack();
  const starting = mortalKinds.map(async (kind, index) => {
    const userId = `embedded-${index}`;
    const birth = { topic: '/login', payload: JSON.stringify({ userId, sessionId: 'phone', epoch: 3 }) };
    const options = { port, version: 4, clientId: userId, will: { ...birth, topic: '/logout' }, birth } as const;
    const mortal = mortals.use(await startMortal(kind, options));
    await willow.presenceWhen(userId, ({ status }) => status === 'online');
    return { mortal, userId };
  });
  for (const { mortal, userId } of await Promise.all(starting)) {
    await mortal.die();
    expect(await announcedWhen(willow, userId, 4)).toEqual(ended('phone', '3'));
  }
});

test('with nothing but a directory and ports everything is there, and everything is there again after a restart', async () => {
  await using home = await createHome();
  const environment = { DATA_DIR: home.dataDir, GRACE_MS: '100' };
  const alive: number[] = [];
  {
    await using willow = await startWillow(environment);
    const { url } = await brokerOf(willow);
    await willow.logged('link.up');
    await using voice = await openVoice(url, { protocolVersion: 4 });
    await voice.say('/login', '42');
    await willow.presenceWhen('42', ({ status }) => status === 'online');
    await voice.say('/logout', '42');
    expect(await announcedWhen(willow, '42', 4)).toEqual(ended('default', '1'));
    await voice.say('/login', 'still-there');
    await willow.presenceWhen('still-there', ({ status }) => status === 'online');
    alive.push(await postmasterPid(home.dataDir));
    expect(await willow.child.end('SIGTERM')).toBe(0);
  }
  expect(alive.map(isAlive)).toEqual([false]);
  await using willow = await startWillow(environment);
  expect(await announced(willow, '42')).toEqual(ended('default', '1'));
  expect((await willow.presence('still-there')).status).toBe('online');
  const { url } = await brokerOf(willow);
  await willow.logged('link.up');
  await using voice = await openVoice(url, { protocolVersion: 4 });
  await voice.say('/logout', 'still-there');
  expect(await announcedWhen(willow, 'still-there', 4)).toEqual(ended('default', '1'));
});
