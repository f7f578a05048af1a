// No connection is opened to an address that is not allowed, however it is written, and whatever a name says it is.

import type { LookupAddress } from 'node:dns';
import { describe, expect, test } from 'vitest';
import { createSender, type Sender } from '../../src/webhooks/send.ts';
import { BlockedTargetError, guardedConnector, type LookupAll } from '../../src/webhooks/target-guard.ts';
import { type RawReceiver, startRawReceiver } from '../support/raw-receiver.ts';
import { aMessage, failedWith, patient, rulesFor } from '../support/webhook-sender.ts';

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok';
const v4 = (address: string): LookupAddress => ({ address, family: 4 });
const v6 = (address: string): LookupAddress => ({ address, family: 6 });

/** A receiver inside, on every address of loopback that this machine has, and on one port. */
async function startInside(): Promise<RawReceiver> {
  try {
    // An IPv6 socket for all addresses hears those of IPv4 too.
    return await startRawReceiver((socket) => socket.end(ok), { host: '::' });
  } catch {
    return startRawReceiver((socket) => socket.end(ok), { host: '0.0.0.0' });
  }
}

/** Answers with these, one list a call, the last for ever; and tells how often it was asked. */
function resolving(...answers: readonly (readonly LookupAddress[])[]): LookupAll & { readonly asked: () => number } {
  let asked = 0;
  const lookup: LookupAll = (_hostname, done) => {
    const answer = answers[Math.min(asked, answers.length - 1)] ?? [];
    asked += 1;
    setImmediate(() => done(null, answer));
  };
  return Object.assign(lookup, { asked: () => asked });
}

function senderFor(networks: string, lookup?: LookupAll): Sender {
  return createSender({ rules: rulesFor(networks), ...(lookup !== undefined && { lookup }) });
}

describe('an address inside', () => {
  test.each([
    ['plain', '127.0.0.1'],
    ['another of loopback', '127.0.0.2'],
    ['decimal', '2130706433'],
    ['hexadecimal', '0x7f000001'],
    ['octal', '0177.0.0.1'],
    ['short', '127.1'],
    ['shortest', '0'],
    ['full-width', '１２７.０.０.１'],
    ['unspecified', '0.0.0.0'],
    ['IPv6', '[::1]'],
    ['IPv6 unspecified', '[::]'],
    ['mapped', '[::ffff:127.0.0.1]'],
    ['mapped, in hexadecimal', '[::ffff:7f00:1]'],
    ['compatible', '[::127.0.0.1]'],
    ['NAT64', '[64:ff9b::7f00:1]'],
    ['6to4', '[2002:7f00:1::]'],
  ])('%s is not connected to, over http or https: %s', async (_kind, host) => {
    await using inside = await startInside();
    await using sender = senderFor('');
    for (const scheme of ['http', 'https']) {
      const url = `${scheme}://${host}:${inside.port}/`;
      const sent = await sender.send({ url }, aMessage(), patient);
      expect(sent).toMatchObject({ attempt: failedWith('blocked'), body: null });
      expect(sent.detail).toMatch(/^the address .+ is neither public nor in WEBHOOK_ALLOW_NETWORKS$/u);
    }
    expect(inside.opened()).toBe(0);
  });

  // Otherwise the test above would show nothing: a receiver that cannot be reached is never connected to.
  test('could be connected to, were it allowed', async () => {
    await using inside = await startInside();
    await using sender = senderFor('127.0.0.0/8');
    const sent = await sender.send({ url: `http://127.1:${inside.port}/` }, aMessage(), patient);
    expect(sent.attempt.kind).toBe('delivered');
    expect(inside.opened()).toBe(1);
  });
});

describe('a name', () => {
  test.each(['http', 'https'])('that the system resolves inside is not connected to over %s', async (scheme) => {
    await using inside = await startInside();
    await using sender = senderFor('');
    for (const host of ['localhost', 'LOCALHOST']) {
      const sent = await sender.send({ url: `${scheme}://${host}:${inside.port}/` }, aMessage(), patient);
      expect(sent.attempt).toEqual(failedWith('blocked'));
      expect(sent.detail).toBe('localhost is at an address that is neither public nor in WEBHOOK_ALLOW_NETWORKS');
    }
    expect(inside.opened()).toBe(0);
  });

  test.each([
    ['a public address first', [v4('93.184.216.34'), v4('127.0.0.1')]],
    ['a public address last', [v4('127.0.0.1'), v4('93.184.216.34')]],
    ['an address of the other family', [v4('93.184.216.34'), v6('::1')]],
    ['a mapped address', [v6('::ffff:127.0.0.1')]],
    ['a compatible address', [v6('::127.0.0.1')]],
    ['metadata', [v4('169.254.169.254')]],
    ['something that is no address', [{ address: '127.1', family: 4 }]],
    ['nothing', []],
  ])('with %s among its addresses is not connected to at all', async (_kind, addresses) => {
    await using inside = await startInside();
    const lookup = resolving(addresses);
    await using sender = senderFor('', lookup);
    for (const scheme of ['http', 'https']) {
      const sent = await sender.send({ url: `${scheme}://name.example:${inside.port}/` }, aMessage(), patient);
      expect(sent.attempt).toEqual(failedWith('blocked'));
    }
    expect(lookup.asked()).toBe(2);
    expect(inside.opened()).toBe(0);
  });

  test('that changes is judged by the answer that is connected to, not by an earlier or a later one', async () => {
    await using outside = await startRawReceiver((socket) => socket.end(ok), { host: '127.0.0.2' });
    await using inside = await startRawReceiver((socket) => socket.end(ok), { host: '127.0.0.1', port: outside.port });
    const lookup = resolving([v4('127.0.0.2')], [v4('127.0.0.1')]);
    await using sender = senderFor('127.0.0.2/32', lookup);
    const target = { url: `http://rebinding.example:${outside.port}/` };
    expect((await sender.send(target, aMessage(), patient)).attempt.kind).toBe('delivered');
    // One lookup a connection: a second one could have said something else.
    expect(lookup.asked()).toBe(1);
    const sent = await sender.send(target, aMessage(), patient);
    expect(sent).toMatchObject({
      attempt: failedWith('blocked'),
      detail: 'rebinding.example is at an address that is neither public nor in WEBHOOK_ALLOW_NETWORKS',
    });
    expect(lookup.asked()).toBe(2);
    expect(outside.opened()).toBe(1);
    expect(inside.opened()).toBe(0);
  });

  test('that does not resolve in time fails in bounded time', async () => {
    const lookup: LookupAll = () => undefined;
    const timeouts = { connectMs: 300, answerMs: 20_000 };
    await using sender = createSender({ rules: rulesFor(''), lookup, timeouts });
    const sent = await sender.send({ url: 'https://hangs.example/' }, aMessage(), patient);
    expect(sent.attempt).toEqual(failedWith('timeout'));
    expect(sent.detail).toMatch(/in 0\.3 s$/u);
  });
});

// What is behind the judgement of the URL: undici hands literals over without asking any lookup.
test.each([
  ['http:', '127.0.0.1', true, 'the address 127.0.0.1 is neither public nor in WEBHOOK_ALLOW_NETWORKS'],
  ['https:', '127.0.0.1', true, 'the address 127.0.0.1 is neither public nor in WEBHOOK_ALLOW_NETWORKS'],
  ['https:', '::ffff:7f00:1', true, 'the address ::ffff:7f00:1 is neither public nor in WEBHOOK_ALLOW_NETWORKS'],
  ['http:', 'localhost', false, 'plain http is not allowed; see WEBHOOK_ALLOW_HTTP'],
])('a socket itself is refused, %s to %s', async (protocol, hostname, allowHttp, message) => {
  await using inside = await startInside();
  const connect = guardedConnector({ allowHttp, allowNetworks: [] }, { connectMs: 5_000 });
  const { promise, resolve } = Promise.withResolvers<Error | null>();
  connect({ protocol, hostname, port: String(inside.port) }, (...[error]) => resolve(error));
  const error = await promise;
  expect(error).toBeInstanceOf(BlockedTargetError);
  expect(error?.message).toBe(message);
  expect(inside.opened()).toBe(0);
});

test('a URL that was registered under laxer rules is judged by those of today', async () => {
  await using inside = await startInside();
  await using sender = createSender({ rules: { ...rulesFor('127.0.0.0/8'), allowHttp: false } });
  const sent = await sender.send({ url: `http://127.0.0.1:${inside.port}/` }, aMessage(), patient);
  const detail = 'the URL is not https, and plain http is not allowed; see WEBHOOK_ALLOW_HTTP';
  expect(sent).toMatchObject({ attempt: failedWith('blocked'), detail });
  expect(inside.opened()).toBe(0);
});
