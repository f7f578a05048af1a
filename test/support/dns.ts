// A DNS server of a test's own, over UDP: it answers each question with the addresses that the test has for its family, says that there are
// none, or keeps silent, as some servers do about IPv6.

import dgram from 'node:dgram';
import dns from 'node:dns';
import { once } from 'node:events';
import ipaddr from 'ipaddr.js';

export type Family = readonly string[] | 'silent' | { readonly late: readonly string[] };

export type DnsServer = AsyncDisposable & {
  /** Asks this server, as patiently as Willow's own does, and as often unless told otherwise. */
  readonly resolver: (tries?: number) => dns.promises.Resolver;
  /** Questions about a family that were not answered. */
  readonly dropped: () => number;
};

const aaaa = 28;
/** Behind the other family's answer. */
const lateMs = 10;
const headerBytes = 12;

export async function startDns(answers: { readonly v4: Family; readonly v6: Family }): Promise<DnsServer> {
  const socket = dgram.createSocket('udp4');
  let dropped = 0;
  socket.on('message', (question, from) => {
    const end = question.indexOf(0, headerBytes) + 5;
    const type = question.readUInt16BE(end - 4);
    const known = type === aaaa ? answers.v6 : answers.v4;
    const answer = (addresses: readonly string[]) =>
      socket.send(answerTo(question.subarray(0, end), type, addresses), from.port, from.address);
    if (known === 'silent') dropped += 1;
    else if ('late' in known) setTimeout(answer, lateMs, known.late);
    else answer(known);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  return {
    resolver: (tries = 2) => {
      const resolver = new dns.promises.Resolver({ timeout: 2_000, tries });
      resolver.setServers([`127.0.0.1:${port}`]);
      return resolver;
    },
    dropped: () => dropped,
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, 'close');
    },
  };
}

/** RFC 1035 §4.1: the question again, and a record for each address, which names it by its place. */
function answerTo(question: Buffer, type: number, addresses: readonly string[]): Buffer {
  const head = Buffer.from(question);
  head.writeUInt16BE(0x81_80, 2);
  [1, addresses.length, 0, 0].forEach((count, index) => head.writeUInt16BE(count, 4 + 2 * index));
  const records = addresses.map((address) => {
    const bytes = ipaddr.parse(address).toByteArray();
    const record = Buffer.alloc(12);
    [0xc0_0c, type, 1, 0, 60, bytes.length].forEach((value, index) => record.writeUInt16BE(value, 2 * index));
    return Buffer.concat([record, Buffer.from(bytes)]);
  });
  return Buffer.concat([head, ...records]);
}
