// Receivers that do what no receiver should: each attempt ends in bounded time and memory, as a failure that keeps the event.

import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { sendTimeouts } from '../../src/webhooks/send.ts';
import { findFreePort } from '../support/free-port.ts';
import { startRawReceiver } from '../support/raw-receiver.ts';
import { until } from '../support/until.ts';
import { aMessage, drip, failedWith, loopbackSender, patient, sendTo, slackMs } from '../support/webhook-sender.ts';

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
/** The default would make the tests long. */
const hasty = { connectMs: 2_000, answerMs: 2_000 };

test('a receiver has 15 seconds, of which 5 to connect', () => {
  expect(sendTimeouts).toEqual({ connectMs: 5_000, answerMs: 15_000 });
});

describe('a receiver that', () => {
  test('never answers has its time, and no more', async () => {
    await using receiver = await startRawReceiver(() => undefined);
    await using sender = loopbackSender({ timeouts: hasty });
    const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
    expect(sent).toMatchObject({ attempt: failedWith('timeout'), detail: 'no answer in 2 s', body: null });
    expect(sent.durationMs).toBeGreaterThanOrEqual(hasty.answerMs - 1);
    expect(sent.durationMs).toBeLessThan(hasty.answerMs + slackMs);
    await until('the connection is closed', () => receiver.open() === 0);
  });

  test('sends its headers a byte at a time has as long', async () => {
    const sent = await sendTo((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx: ');
      drip(socket, 'x');
    }, hasty);
    expect(sent).toMatchObject({ attempt: failedWith('timeout'), detail: 'no answer in 2 s' });
  });

  test('sends interim answers for ever has as long', async () => {
    const sent = await sendTo((socket) => drip(socket, 'HTTP/1.1 102 Processing\r\n\r\n'), hasty);
    expect(sent).toMatchObject({ attempt: failedWith('timeout'), detail: 'no answer in 2 s' });
  });

  test.each([
    ['one header', (n: number) => (n === 0 ? 'x: ' : 'x'.repeat(1_024))],
    ['many headers', (n: number) => `x-${n}: ${'x'.repeat(1_024)}\r\n`],
  ])('sends headers without end (%s) is cut off', async (_name, part) => {
    let written = 0;
    const sent = await sendTo((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const pour = () => {
        while (!socket.destroyed) {
          written += 1_024;
          if (!socket.write(part(written / 1_024 - 1))) return;
        }
      };
      socket.on('drain', pour);
      pour();
    });
    expect(sent).toMatchObject({ attempt: failedWith('connection'), detail: 'the headers of the answer are too long' });
    expect(written).toBeLessThan(64 * 1_024 ** 2);
  });

  test.each<[string, (socket: Socket) => void, string]>([
    ['closes', (socket) => socket.end(), 'the connection was closed without an answer'],
    ['resets', (socket) => socket.resetAndDestroy(), 'the connection was reset'],
    [
      'closes in the headers',
      (socket) => socket.end('HTTP/1.1 200 OK\r\nx:'),
      'the connection was closed without an answer',
    ],
    [
      'says 100 Continue',
      (socket) => socket.write('HTTP/1.1 100 Continue\r\n\r\n'),
      'the connection was closed without an answer',
    ],
    [
      'switches protocols',
      (socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      'the connection was closed without an answer',
    ],
    ['speaks something else', (socket) => socket.write('220 mail.example ESMTP\r\n'), 'the answer is not HTTP/1.1'],
    ['sends noise', (socket) => socket.write(Buffer.alloc(100, 0x80)), 'the answer is not HTTP/1.1'],
  ])('%s fails, and the event is kept', async (_name, answer, detail) => {
    expect(await sendTo(answer)).toMatchObject({ attempt: failedWith('connection'), detail, body: null });
  });

  test('answers with a status that is none fails', async () => {
    const sent = await sendTo((socket) => socket.write('HTTP/1.1 000 Nothing\r\ncontent-length: 0\r\n\r\n'), hasty);
    expect(sent.attempt).toMatchObject({ kind: 'failed', status: null });
  });

  test('nobody listens for fails', async () => {
    await using sender = loopbackSender();
    const url = `http://127.0.0.1:${await findFreePort()}/`;
    const sent = await sender.send({ url }, aMessage(), patient);
    expect(sent).toMatchObject({ attempt: failedWith('connection'), detail: 'the connection was refused' });
  });

  test('answers what was not asked leaves the next delivery unharmed', async () => {
    let n = 0;
    await using receiver = await startRawReceiver((socket) => {
      n += 1;
      socket.write(n === 1 ? `${ok}HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n` : ok);
    });
    await using sender = loopbackSender();
    for (let sends = 0; sends < 3; sends += 1) {
      const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
      expect(sent.attempt).toEqual({ kind: 'delivered', status: 200 });
      await new Promise(setImmediate);
    }
  });
});
