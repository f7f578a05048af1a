// Whoever may publish can put anything into the quarantine; whoever reads it there is shown all of it, and nobody reads it in the log.

import { expect, test } from 'vitest';
import { call, readPages } from '../support/http.ts';
import { openStage, settled } from '../support/stage.ts';

type Message = {
  readonly id: number;
  readonly topic: string;
  readonly reason: string;
  readonly payload: string;
  readonly payloadBytes: number;
  readonly isCut: boolean;
};

test('what could not be understood is listed newest first, escaped and cut, is removed by its id, and is in no log', async () => {
  await using stage = await openStage({ LOG_LEVEL: 'trace' });
  const { willow, voice } = stage;
  const secret = 'tell-nobody';
  await voice.say('/logout', Buffer.from([0xff, 0x00, 0x1b, ...Buffer.from(secret)]));
  await voice.say('/logout/\u202eada/phone/x', '');
  await voice.say('/logout', Buffer.alloc(5_000, `{${secret}`));
  for (let number = 0; number < 7; number += 1) await voice.say('/login', `{${secret} ${number}`);
  await settled(willow, voice);

  const { items, pages } = await readPages<Message>(`${willow.http}/quarantine`, 3);
  expect(pages).toBe(4);
  expect(items.map(({ reason }) => reason)).toEqual([
    ...Array.from({ length: 7 }, () => 'not-json'),
    'payload-too-large',
    'unknown-topic',
    'not-utf8',
  ]);
  expect(items.map(({ id }) => id)).toEqual(items.map(({ id }) => id).toSorted((a, b) => b - a));
  const [newest] = items;
  expect(newest).toMatchObject({ topic: '/login', payload: `{${secret} 6`, payloadBytes: 14, isCut: false });
  const [large, turned, bytes] = items.slice(7);
  expect(large).toMatchObject({ payloadBytes: 5_000, isCut: true });
  expect(large?.payload).toHaveLength(1_024);
  expect(turned).toMatchObject({ topic: '/logout/\\u202eada/phone/x', payload: '', isCut: false });
  expect(bytes?.payload).toBe(`\\xff\\u0000\\u001b${secret}`);

  const { body } = await call<{ data: readonly Message[] }>(`${willow.http}/quarantine?reason=not-utf8`);
  expect(body.data).toEqual([bytes]);
  const at = `${willow.http}/quarantine/${bytes?.id}`;
  expect(await call(at)).toMatchObject({ status: 200, body: bytes });
  expect((await call(at, { method: 'DELETE' })).status).toBe(204);
  for (const method of ['GET', 'DELETE']) {
    expect(await call(at, { method })).toMatchObject({
      status: 404,
      body: { type: 'urn:willow:problem:unknown-message' },
    });
  }
  expect(willow.child.lines.join('\n')).not.toContain(secret);
});
