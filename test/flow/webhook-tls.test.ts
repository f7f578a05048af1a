// Over TLS nothing is sent to a receiver whose certificate does not prove its name, and TLS spoken badly is an outage like
// any other.

import type { Socket } from 'node:net';
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Attempt } from '../../src/core/verdict.ts';
import type { LookupAll } from '../../src/webhooks/target-guard.ts';
import { type Certificate, makeCertificate, startRawReceiver } from '../support/raw-receiver.ts';
import { aMessage, failedWith, loopbackSender, patient } from '../support/webhook-sender.ts';

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const answerOk = (socket: Socket) => socket.write(ok);
const hasty = { connectMs: 900, answerMs: 20_000 };
const onLoopback: LookupAll = (_hostname, done) => done(null, [{ address: '127.0.0.1', family: 4 }]);

const stalled = failedWith('timeout');

let trusted: Certificate;
let selfSigned: Certificate;
beforeAll(async () => {
  trusted = await makeCertificate('DNS:receiver.example', 'IP:127.0.0.1');
  selfSigned = await makeCertificate('DNS:receiver.example', 'IP:127.0.0.1');
  setDefaultCACertificates([...getCACertificates('default'), trusted.cert]);
});

describe('a certificate', () => {
  test('that proves the name lets the delivery through, on connections that are used again', async () => {
    const names: unknown[] = [];
    const onConnection = (socket: Socket) => names.push((socket as TLSSocket).servername);
    await using receiver = await startRawReceiver(answerOk, { tls: trusted, onConnection });
    await using sender = loopbackSender({ lookup: onLoopback });
    for (let n = 0; n < 3; n += 1) {
      const url = `https://receiver.example:${receiver.port}/hook`;
      const sent = await sender.send({ url }, aMessage(), patient);
      expect(sent).toMatchObject({ attempt: { kind: 'delivered', status: 200 }, body: 'ok' });
      await new Promise(setImmediate);
    }
    // The name is asked for, not the address that it resolved to: one machine may serve many.
    expect(names).toEqual(['receiver.example']);
  });

  test('that proves the address serves a URL with that address', async () => {
    await using receiver = await startRawReceiver(answerOk, { tls: trusted });
    await using sender = loopbackSender();
    const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
    expect(sent.attempt).toEqual({ kind: 'delivered', status: 200 });
  });

  test('that nobody vouches for stops the delivery before a byte of it is sent', async () => {
    await using receiver = await startRawReceiver(answerOk, { tls: selfSigned });
    await using sender = loopbackSender();
    const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
    const detail = 'the certificate is not valid: self-signed certificate';
    expect(sent).toMatchObject({ attempt: failedWith('tls'), detail, body: null });
    expect(receiver.opened()).toBe(1);
    expect(receiver.requests).toEqual([]);
  });

  test('of another name stops it too, and one refusal is one connection', async () => {
    await using receiver = await startRawReceiver(answerOk, { tls: trusted });
    await using sender = loopbackSender({ lookup: onLoopback });
    const sent = await sender.send({ url: `https://other.example:${receiver.port}/` }, aMessage(), patient);
    expect(sent.attempt).toEqual(failedWith('tls'));
    expect(sent.detail).toMatch(/^the certificate is not valid: .*other\.example/u);
    expect(receiver.opened()).toBe(1);
    expect(receiver.requests).toEqual([]);
  });
});

describe('a receiver that speaks TLS badly', () => {
  test.each<[string, (socket: Socket) => void, Attempt, RegExp]>([
    ['with plain HTTP', answerOk, failedWith('tls'), /^TLS failed: /u],
    ['with noise', (socket) => socket.write(Buffer.alloc(2_000, 0x99)), failedWith('tls'), /^TLS failed: /u],
    [
      'with an alert',
      (socket) => socket.write(Buffer.from([21, 3, 3, 0, 2, 2, 40])),
      failedWith('tls'),
      /^TLS failed: .*handshake failure/u,
    ],
    ['by hanging up', (socket) => socket.end(), failedWith('connection'), /^the connection was reset$/u],
    ['by resetting', (socket) => socket.resetAndDestroy(), failedWith('connection'), /^the connection was reset$/u],
    ['by saying nothing', () => undefined, stalled, /^no connection in 0\.9 s$/u],
    ['one byte at a time', drip, stalled, /^no connection in 0\.9 s$/u],
  ])('%s fails, in bounded time', async (_name, onHello, attempt, detail) => {
    await using receiver = await startRawReceiver(() => undefined, {
      onConnection: (socket) => socket.once('data', () => onHello(socket)),
    });
    await using sender = loopbackSender(attempt === stalled ? { timeouts: hasty } : {});
    const sent = await sender.send({ url: `https://127.0.0.1:${receiver.port}/` }, aMessage(), patient);
    expect(sent).toMatchObject({ attempt, detail: expect.stringMatching(detail) as string, body: null });
    if (attempt === stalled) expect(sent.durationMs).toBeLessThan(8_000);
    expect(receiver.opened()).toBe(1);
  });

  test('and one that does not speak it at all is not sent plain HTTP instead', async () => {
    await using receiver = await startRawReceiver(answerOk);
    await using sender = loopbackSender({ timeouts: hasty });
    const sent = await sender.send({ url: `https://127.0.0.1:${receiver.port}/` }, aMessage(), patient);
    expect(sent.attempt).toEqual(failedWith('timeout'));
    expect(receiver.requests).toEqual([]);
  });
});

/** A record of a handshake that never comes to its end. */
function drip(socket: Socket): void {
  socket.write(Buffer.from([22, 3, 3, 0x40, 0]));
  const timer = setInterval(() => socket.write(Buffer.from([2])), 20);
  socket.once('close', () => clearInterval(timer));
}
