// Receivers that misbehave, each in its own way, all at once, on one Willow: those that behave do not notice.

import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { type RawReceiver, startRawReceiver } from '../support/raw-receiver.ts';
import { until } from '../support/until.ts';
import { drip } from '../support/webhook-sender.ts';
import { attemptsWhen, playWebhooks, webhookOf } from '../support/webhooks.ts';

const play = playWebhooks();
const gigabyte = 1_024 ** 3;
const residentBytesMax = 400 * 1_024 ** 2;

let poured = 0;

/** As much as the other side takes, up to 2 GB. */
function pour(socket: Socket): void {
  const chunk = Buffer.alloc(65_536, 'x');
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${2 * gigabyte}\r\n\r\n`);
  const go = () => {
    while (!socket.destroyed && poured < 2 * gigabyte) {
      poured += chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket.on('drain', go);
  go();
}

/** What they do with a request; and whether it counts as a success, because a status arrives. */
const misbehaviours: Record<string, { answer: (socket: Socket) => void; isSuccess: boolean | 'perhaps' }> = {
  'never answers': { answer: () => undefined, isSuccess: false },
  'drips its headers': {
    answer: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx: ');
      drip(socket, 'x');
    },
    isSuccess: false,
  },
  'redirects to another address of this machine': {
    answer: (socket) =>
      socket.write(`HTTP/1.1 307 Moved\r\nlocation: ${play.receiver.url}\r\ncontent-length: 0\r\n\r\n`),
    isSuccess: false,
  },
  'closes before an answer': { answer: (socket) => socket.end(), isSuccess: false },
  'answers two gigabytes': { answer: pour, isSuccess: true },
  'drips its body': {
    answer: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n');
      drip(socket, 'x'.repeat(1_024));
    },
    isSuccess: true,
  },
  'closes after its headers': {
    answer: (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n'),
    isSuccess: true,
  },
  'resets after a 200': {
    answer: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', () => socket.resetAndDestroy());
    },
    // A reset may overtake what was sent before it.
    isSuccess: 'perhaps',
  },
};

test('whatever some receivers do, another one gets its events meanwhile, in order, and memory stays bounded', async () => {
  await using stack = new AsyncDisposableStack();
  const bad: { name: string; id: string; raw: RawReceiver; isSuccess: boolean | 'perhaps' }[] = [];
  for (const [name, { answer, isSuccess }] of Object.entries(misbehaviours)) {
    const raw = stack.use(await startRawReceiver(answer));
    bad.push({ name, id: await play.hook({ url: raw.url, events: ['user.offline'] }), raw, isSuccess });
  }
  const users = Array.from({ length: 24 }, (_, index) => `neighbour-${index}`);
  // All of them have something to misbehave with before the good one is there.
  await play.login('first');
  await play.will('first');
  for (const { name, raw } of bad) await until(`a request for one that ${name}`, () => raw.requests.length > 0);

  await play.hook();
  for (const userId of users) await play.login(userId);
  for (const userId of users) await play.will(userId);
  const events = await play.receiver.takenWhen(4 * users.length);
  for (const userId of users) {
    const sequences = events.filter((event) => event.userId === userId).map(({ sequence }) => sequence);
    expect(sequences, userId).toEqual([1, 2, 3, 4]);
  }
  for (const { name, id } of bad.filter(({ isSuccess }) => isSuccess === false)) {
    expect((await webhookOf(play.willow, id)).lastSuccessAt, name).toBeNull();
  }
  for (const { name, id, raw } of bad.filter(({ isSuccess }) => isSuccess === true)) {
    const attempts = await attemptsWhen(play.willow, id, users.length + 1);
    expect(raw.requests, name).toHaveLength(users.length + 1);
    expect(new Set(attempts.map(({ outcome, status }) => `${outcome} ${status}`)), name).toEqual(
      new Set(['delivered 200']),
    );
  }
  const redirected = bad.find(({ name }) => name.startsWith('redirects'));
  const [attempt] = await attemptsWhen(play.willow, redirected?.id ?? '', 1);
  expect(attempt).toMatchObject({ outcome: 'failed', status: 307 });
  // One that was followed would have come here.
  expect(play.receiver.deliveries()).toHaveLength(4 * users.length);
  expect(poured).toBeLessThan(2 * gigabyte);
  expect(await play.willow.metric('process_resident_memory_bytes')).toBeLessThan(residentBytesMax);
});
