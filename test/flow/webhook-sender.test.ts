// What holds over many attempts: they can be called off, they wait for their turn without paying for it, and what they keep
// open is bounded.

import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { SenderClosedError } from '../../src/webhooks/send.ts';
import type { LookupAll } from '../../src/webhooks/target-guard.ts';
import { startRawReceiver } from '../support/raw-receiver.ts';
import { until } from '../support/until.ts';
import { aMessage, failedWith, loopbackSender, patient } from '../support/webhook-sender.ts';

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const never = () => undefined;
const reason = new Error('the process is stopping');

describe('an attempt that is called off', () => {
  test('while the receiver thinks rejects with the reason, and closes its connection', async () => {
    await using receiver = await startRawReceiver(never);
    await using sender = loopbackSender();
    const stop = new AbortController();
    const sending = sender.send({ url: receiver.url }, aMessage(), stop.signal);
    await until('the request has arrived', () => receiver.requests.length === 1);
    stop.abort(reason);
    await expect(sending).rejects.toBe(reason);
    await until('the connection is closed', () => receiver.open() === 0);
  });

  test('in the middle of an answer rejects too: the verdict is not ours any more', async () => {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    await using receiver = await startRawReceiver((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok', () => begin());
    });
    await using sender = loopbackSender();
    const stop = new AbortController();
    const sending = sender.send({ url: receiver.url }, aMessage(), stop.signal);
    await begun;
    stop.abort(reason);
    await expect(sending).rejects.toBe(reason);
  });

  test('before it begins opens no connection', async () => {
    await using receiver = await startRawReceiver(never);
    await using sender = loopbackSender();
    await expect(sender.send({ url: receiver.url }, aMessage(), AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(receiver.opened()).toBe(0);
  });

  test('while its name is being resolved is never sent, even if the name resolves after all', async () => {
    await using receiver = await startRawReceiver((socket) => socket.write(ok));
    const { promise: asked, resolve: ask } = Promise.withResolvers<() => void>();
    const lookup: LookupAll = (_hostname, done) => ask(() => done(null, [{ address: '127.0.0.1', family: 4 }]));
    await using sender = loopbackSender({ lookup });
    const stop = new AbortController();
    const sending = sender.send({ url: `http://slow.example:${receiver.port}/` }, aMessage(), stop.signal);
    const answer = await asked;
    stop.abort(reason);
    await expect(sending).rejects.toBe(reason);
    answer();
    await until('the connection was made and closed', () => receiver.opened() === 1 && receiver.open() === 0);
    expect(receiver.requests).toEqual([]);
  });

  test('while it waits for its turn gives the turn to the next', async () => {
    let held: Socket | undefined;
    await using receiver = await startRawReceiver((socket, { body }) => {
      if (body === 'held') held = socket;
      else socket.write(ok);
    });
    await using sender = loopbackSender({
      limits: { requestsPerUrlMax: 1, connectionsPerOriginMax: 1, originsMax: 10 },
    });
    const target = { url: receiver.url };
    const first = sender.send(target, aMessage({ body: 'held' }), patient);
    await until('the only place is taken', () => held);
    const stop = new AbortController();
    const second = sender.send(target, aMessage({ body: 'second' }), stop.signal);
    const third = sender.send(target, aMessage({ body: 'third' }), patient);
    stop.abort(reason);
    await expect(second).rejects.toBe(reason);
    held?.write(ok);
    for (const sent of await Promise.all([first, third])) expect(sent.attempt.kind).toBe('delivered');
    expect(receiver.requests.map(({ body }) => body)).toEqual(['held', 'third']);
  });

  test('by closing the sender says nothing about the receiver', async () => {
    await using receiver = await startRawReceiver(never);
    const sender = loopbackSender();
    const sending = sender.send({ url: receiver.url }, aMessage(), patient);
    const rejected = expect(sending).rejects.toBeInstanceOf(SenderClosedError);
    await until('the request has arrived', () => receiver.requests.length === 1);
    await sender[Symbol.asyncDispose]();
    await rejected;
    await until('the connection is closed', () => receiver.open() === 0);
    await expect(sender.send({ url: receiver.url }, aMessage(), patient)).rejects.toBeInstanceOf(SenderClosedError);
  });
});

describe('attempts for one receiver', () => {
  test('share so many connections, and none is late because it had to wait for its turn', async () => {
    const places = 3;
    const thinkingMs = 1_000;
    await using receiver = await startRawReceiver((socket) => void setTimeout(() => socket.write(ok), thinkingMs));
    const limits = { requestsPerUrlMax: places, connectionsPerOriginMax: places, originsMax: 10 };
    // The last of four rounds begins when more than this has passed.
    await using sender = loopbackSender({ limits, timeouts: { connectMs: 3_500, answerMs: 3_500 } });
    const startedAtMs = Date.now();
    const sends = Array.from({ length: 4 * places }, () => sender.send({ url: receiver.url }, aMessage(), patient));
    for (const sent of await Promise.all(sends)) expect(sent.attempt).toEqual({ kind: 'delivered', status: 200 });
    expect(Date.now() - startedAtMs).toBeGreaterThan(4 * thinkingMs - 50);
    expect(receiver.opened()).toBe(places);
    const after = await sender.send({ url: receiver.url }, aMessage(), patient);
    expect(after.attempt.kind).toBe('delivered');
    // A receiver that compares the timestamp with its clock sees when it was sent, not when it was asked for.
    const ages = receiver.requests.map(({ headers }) => Number(headers['webhook-timestamp']));
    expect(Math.max(...ages) - Math.min(...ages)).toBeGreaterThanOrEqual(1);
  });
});

describe('attempts for many receivers', () => {
  test('keep the connections of so many of them', async () => {
    const receivers = await Promise.all(
      Array.from({ length: 6 }, () => startRawReceiver((socket) => socket.write(ok))),
    );
    await using stack = new AsyncDisposableStack();
    for (const receiver of receivers) stack.use(receiver);
    await using sender = loopbackSender({
      limits: { requestsPerUrlMax: 2, connectionsPerOriginMax: 2, originsMax: 2 },
    });
    for (const receiver of receivers) {
      const sent = await sender.send({ url: receiver.url }, aMessage(), patient);
      expect(sent.attempt.kind).toBe('delivered');
      await new Promise(setImmediate);
    }
    const open = () => receivers.filter((receiver) => receiver.open() > 0).length;
    await until('the connections of the first are closed', () => open() <= 2, 2_000);
  });

  test('do not end those under way', async () => {
    const held: Socket[] = [];
    await using slow = await startRawReceiver((socket) => held.push(socket));
    await using quick = await startRawReceiver((socket) => socket.write(ok));
    await using sender = loopbackSender({
      limits: { requestsPerUrlMax: 2, connectionsPerOriginMax: 2, originsMax: 1 },
    });
    const sending = sender.send({ url: slow.url }, aMessage(), patient);
    await until('the request has arrived', () => held.length === 1);
    expect((await sender.send({ url: quick.url }, aMessage(), patient)).attempt.kind).toBe('delivered');
    held[0]?.write(ok);
    expect((await sending).attempt.kind).toBe('delivered');
  });
});

test('a message without a secret is a defect, not a failed delivery', async () => {
  await using sender = loopbackSender();
  const sending = sender.send({ url: 'http://127.0.0.1:1/' }, aMessage({ secrets: [] }), patient);
  await expect(sending).rejects.toThrow('a message is signed');
});

test('a name that does not resolve is an outage', async () => {
  await using sender = loopbackSender();
  const sent = await sender.send({ url: 'http://nobody.invalid/' }, aMessage(), patient);
  expect(sent.attempt).toEqual(failedWith('connection'));
  expect(sent.detail).toMatch(/^the name nobody\.invalid (does not resolve|could not be resolved for now)$/u);
});
