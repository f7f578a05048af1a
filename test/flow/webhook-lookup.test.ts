import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { LookupTimeoutError, systemLookup } from '../../src/webhooks/target-guard.ts';
import { type DnsServer, type Family, startDns } from '../support/dns.ts';
import { startRawReceiver } from '../support/raw-receiver.ts';
import { aMessage, failedWith, loopbackSender, patient } from '../support/webhook-sender.ts';

const name = 'hooks.example.com';
const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

const lookupAt = (server: DnsServer) => promisify(systemLookup(server.resolver()))(name);

/** When one question about the family on which DNS is silent has come to nothing. */
async function silenceOver(server: DnsServer, v4: Family): Promise<string> {
  const resolver = server.resolver(1);
  await (v4 === 'silent' ? resolver.resolve4(name) : resolver.resolve6(name)).catch(() => undefined);
  return 'the silence is over';
}

test.each<[string, { v4: Family; v6: Family }, readonly object[]]>([
  ['IPv6', { v4: ['192.0.2.7'], v6: 'silent' }, [{ address: '192.0.2.7', family: 4 }]],
  ['IPv4', { v4: 'silent', v6: ['2001:db8::7'] }, [{ address: '2001:db8::7', family: 6 }]],
])(
  'a DNS server that is silent about %s does not hold up the addresses that it told',
  async (_silent, answers, found) => {
    await using server = await startDns(answers);
    const first = await Promise.race([lookupAt(server), silenceOver(server, answers.v4)]);
    expect(first).toEqual(found);
    expect(server.dropped()).toBeGreaterThan(0);
  },
);

test('a webhook of such a name is delivered', async () => {
  await using receiver = await startRawReceiver((socket) => socket.write(ok));
  await using server = await startDns({ v4: ['127.0.0.1'], v6: 'silent' });
  await using sender = loopbackSender({ lookup: systemLookup(server.resolver()) });
  const sent = await sender.send({ url: `http://${name}:${receiver.port}/` }, aMessage(), patient);
  expect(sent.attempt).toEqual({ kind: 'delivered', status: 200 });
});

test('all addresses that came are judged: one that is not allowed blocks the name, whatever the other family says', async () => {
  await using receiver = await startRawReceiver((socket) => socket.write(ok));
  for (const v6 of [['fd00::1'], [], 'silent'] as const) {
    await using server = await startDns({ v4: v6.length === 1 ? ['127.0.0.1'] : ['127.0.0.1', '10.0.0.1'], v6 });
    await using sender = loopbackSender({ lookup: systemLookup(server.resolver()) });
    const sent = await sender.send({ url: `http://${name}:${receiver.port}/` }, aMessage(), patient);
    expect(sent.attempt).toEqual(failedWith('blocked'));
  }
  expect(receiver.opened()).toBe(0);
});

test('an answer that comes a moment after the other counts, and silence alone is no answer', async () => {
  await using both = await startDns({ v4: ['192.0.2.7'], v6: { late: ['2001:db8::7'] } });
  expect(await lookupAt(both)).toHaveLength(2);
  await using silent = await startDns({ v4: 'silent', v6: 'silent' });
  await using half = await startDns({ v4: [], v6: 'silent' });
  const refused = expect(Promise.any([lookupAt(silent), lookupAt(half)])).rejects;
  await refused.toMatchObject({ errors: [expect.any(LookupTimeoutError), expect.any(LookupTimeoutError)] });
});
