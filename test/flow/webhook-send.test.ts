// An attempt ends in bounded time and memory with what the receiver said, whatever it does. Real sockets on both sides.

import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import type { Attempt } from '../../src/core/verdict.ts';
import { answerBytesMax } from '../../src/webhooks/exchange.ts';
import { secretText } from '../../src/webhooks/signature.ts';
import { startRawReceiver } from '../support/raw-receiver.ts';
import { until } from '../support/until.ts';
import { aMessage, drip, loopbackSender, patient, secret, sendTo, slackMs } from '../support/webhook-sender.ts';

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
/** For those whose status must have arrived before the time is over, on a slow machine too. */
const brisk = { connectMs: 3_000, answerMs: 3_000 };

describe('a delivery', () => {
  test('is a signed POST that the receiver can verify', async () => {
    await using receiver = await startRawReceiver((socket) => socket.write(ok));
    await using sender = loopbackSender();
    const old = randomBytes(32);
    const message = aMessage({ body: '{"userId":"zoë"}', secrets: [secret, old] });
    const sent = await sender.send({ url: `${receiver.url}?tenant=1` }, message, patient);
    expect(sent).toMatchObject({ attempt: { kind: 'delivered', status: 200 }, detail: null, body: 'ok' });
    expect(Number.isInteger(sent.durationMs)).toBe(true);
    const [request] = receiver.requests;
    expect(request?.line).toBe('POST /hook?tenant=1 HTTP/1.1');
    expect(request?.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'Willow',
      'webhook-id': message.id,
    });
    expect(request?.body).toBe(message.body);
    for (const known of [secret, old]) {
      const verified = new Webhook(secretText(known)).verify(request?.body ?? '', request?.headers ?? {});
      expect(verified).toEqual({ userId: 'zoë' });
    }
  });

  test('uses the connection of the one before', async () => {
    await using receiver = await startRawReceiver((socket) => socket.write(ok));
    await using sender = loopbackSender();
    for (let n = 0; n < 10; n += 1) {
      const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
      expect(sent.attempt.kind).toBe('delivered');
      // As a lane does, which records the verdict before it goes on.
      await new Promise(setImmediate);
    }
    expect(receiver.requests).toHaveLength(10);
    expect(receiver.opened()).toBe(1);
  });

  test('finds another connection when the receiver has closed the last one', async () => {
    await using receiver = await startRawReceiver((socket) => socket.end(ok));
    await using sender = loopbackSender();
    for (let n = 1; n <= 5; n += 1) {
      const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
      expect(sent.attempt.kind).toBe('delivered');
      await until('the connection is closed', () => receiver.open() === 0);
    }
    expect(receiver.opened()).toBe(5);
  });
});

describe('an answer', () => {
  test.each<[string, Attempt, string | null]>([
    ['204 No Content\r\n', { kind: 'delivered', status: 204 }, null],
    ['400 Bad Request\r\n', { kind: 'refused', status: 400 }, 'answered 400'],
    ['413 Content Too Large\r\n', { kind: 'refused', status: 413 }, 'answered 413'],
    ['422 Unprocessable Content\r\n', { kind: 'refused', status: 422 }, 'answered 422'],
    ['410 Gone\r\n', { kind: 'gone', status: 410 }, 'answered 410'],
    ['404 Not Found\r\n', { kind: 'failed', why: 'status', status: 404, retryAfterMs: null }, 'answered 404'],
    [
      '429 Too Many Requests\r\nretry-after: 120\r\n',
      { kind: 'failed', why: 'status', status: 429, retryAfterMs: 120_000 },
      'answered 429',
    ],
    [
      '503 Service Unavailable\r\nRetry-After: soon\r\n',
      { kind: 'failed', why: 'status', status: 503, retryAfterMs: null },
      'answered 503',
    ],
    ['103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 202 Accepted\r\n', { kind: 'delivered', status: 202 }, null],
    [
      '307 Temporary Redirect\r\nlocation: /elsewhere\r\n',
      { kind: 'failed', why: 'status', status: 307, retryAfterMs: null },
      'answered 307; redirects are not followed',
    ],
  ])('of %j is understood', async (head, attempt, detail) => {
    const sent = await sendTo((socket) => socket.write(`HTTP/1.1 ${head}content-length: 0\r\n\r\n`));
    expect(sent).toMatchObject({ attempt, detail, body: null });
  });

  test('may ask for a pause until a time', async () => {
    const at = new Date(Date.now() + 3_600_000).toUTCString();
    const head = `HTTP/1.1 503 Busy\r\nretry-after: ${at}\r\ncontent-length: 0\r\n\r\n`;
    const { attempt } = await sendTo((socket) => socket.write(head));
    if (attempt.kind !== 'failed' || attempt.retryAfterMs === null) throw new Error('no pause was understood');
    expect(attempt.retryAfterMs).toBeLessThanOrEqual(3_600_000);
    expect(attempt.retryAfterMs).toBeGreaterThan(3_600_000 - 60_000);
  });

  test('that redirects inside is not followed', async () => {
    await using inside = await startRawReceiver((socket) => socket.write(ok));
    const sent = await sendTo((socket) =>
      socket.write(`HTTP/1.1 302 Found\r\nlocation: ${inside.url}\r\ncontent-length: 0\r\n\r\n`),
    );
    expect(sent.attempt).toMatchObject({ kind: 'failed', status: 302 });
    expect(inside.opened()).toBe(0);
  });

  test('may come before the request was read', async () => {
    await using receiver = await startRawReceiver(() => undefined, {
      onConnection: (socket) => {
        socket.once('data', () => {
          socket.pause();
          socket.write('HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n');
        });
      },
    });
    await using sender = loopbackSender();
    const body = JSON.stringify('x'.repeat(32 * 1_024 * 1_024));
    const sent = await sender.send({ url: receiver.url }, aMessage({ body }), patient);
    expect(sent.attempt).toEqual({ kind: 'refused', status: 413 });
  });

  test('whose body is no text is kept as text that can be stored', async () => {
    const body = Buffer.concat([Buffer.from('a\u0000b'), Buffer.alloc(4_000, 0xff)]);
    const sent = await sendTo((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`);
      socket.write(body);
    });
    expect(sent.body?.startsWith('a\ufffdb\ufffd')).toBe(true);
    expect(sent.body?.includes('\u0000')).toBe(false);
    expect(Buffer.byteLength(sent.body ?? '')).toBeLessThanOrEqual(answerBytesMax);
    expect(Buffer.byteLength(sent.body ?? '')).toBeGreaterThan(answerBytesMax - 3);
  });
});

describe('a status that has arrived counts, though', () => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n';

  test('the connection closes after the headers', async () => {
    const sent = await sendTo((socket) => socket.end(head));
    expect(sent).toMatchObject({ attempt: { kind: 'delivered', status: 200 }, body: null });
  });

  test('the connection is reset in the middle of the body', async () => {
    const sent = await sendTo((socket) => socket.write(`${head}begun`, () => socket.resetAndDestroy()));
    expect(sent).toMatchObject({ attempt: { kind: 'delivered', status: 200 } });
  });

  test('the body never comes', async () => {
    const sent = await sendTo((socket) => socket.write(head), brisk);
    expect(sent).toMatchObject({ attempt: { kind: 'delivered', status: 200 }, body: null });
    expect(sent.durationMs).toBeLessThan(brisk.answerMs + slackMs);
  });

  test('the body comes a byte at a time', async () => {
    const sent = await sendTo((socket) => {
      socket.write('HTTP/1.1 503 Busy\r\ncontent-length: 1000000\r\n\r\n');
      drip(socket, 'x');
    }, brisk);
    expect(sent.attempt).toEqual({ kind: 'failed', why: 'status', status: 503, retryAfterMs: null });
    expect(sent.body).toMatch(/^x+$/u);
    expect(sent.durationMs).toBeLessThan(brisk.answerMs + slackMs);
  });

  test.each([
    ['announced', `content-length: ${2 * 1_024 ** 3}\r\n\r\n`],
    ['until the connection closes', '\r\n'],
    ['in chunks', 'transfer-encoding: chunked\r\n\r\n80000000\r\n'],
  ])('the body has 2 GB (%s), of which 8 KiB are read', async (_name, rest) => {
    let written = 0;
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    const sent = await sendTo((socket) => {
      socket.once('close', () => close());
      socket.write(`HTTP/1.1 200 OK\r\n${rest}`);
      const block = Buffer.alloc(65_536, 'x');
      const pour = () => {
        while (!socket.destroyed && written < 2 * 1_024 ** 3) {
          written += block.length;
          if (!socket.write(block)) return;
        }
      };
      socket.on('drain', pour);
      pour();
    });
    await closed;
    expect(sent).toMatchObject({ attempt: { kind: 'delivered', status: 200 }, body: 'x'.repeat(answerBytesMax) });
    // What the kernels of both sides buffer, and no more.
    expect(written).toBeLessThan(64 * 1_024 ** 2);
  });
});
