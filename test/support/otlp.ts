// A collector of traces: a real HTTP server that takes OTLP in protobuf (opentelemetry-proto 1.x, collector/trace/v1) and reads of it what tests
// look at.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './until.ts';

export type Span = {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: the first of its trace. */
  readonly parentId: string;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly isError: boolean;
};

export type Collector = AsyncDisposable & {
  readonly url: string;
  readonly spans: () => readonly Span[];
  /** Everything that came, as it came. */
  readonly bytes: () => Buffer;
  readonly headers: () => readonly NodeJS.Dict<string | string[]>[];
  readonly answer: (status: number) => void;
  /** Takes what comes, and answers nothing, until what it returns is called. */
  readonly hold: () => () => void;
  readonly spansWhen: (isEnough: (spans: readonly Span[]) => boolean) => Promise<readonly Span[]>;
};

export async function openCollector(): Promise<Collector> {
  const spans: Span[] = [];
  const bodies: Buffer[] = [];
  const headers: NodeJS.Dict<string | string[]>[] = [];
  let status = 200;
  let held: PromiseWithResolvers<void> | null = null;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      headers.push(request.headers);
      bodies.push(body);
      if (status === 200 && request.url === '/v1/traces') spans.push(...spansOf(body));
      const answer = () => response.writeHead(status, { 'content-type': 'application/x-protobuf' }).end();
      if (held === null) answer();
      else void held.promise.then(answer);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: () => spans,
    bytes: () => Buffer.concat(bodies),
    headers: () => headers,
    answer: (next) => {
      status = next;
    },
    hold: () => {
      const holding = Promise.withResolvers<void>();
      held = holding;
      return () => {
        held = null;
        holding.resolve();
      };
    },
    spansWhen: (isEnough) => until('the spans', () => isEnough(spans) && [...spans]),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

type Field = { readonly number: number; readonly bytes: Buffer; readonly value: bigint };

function* fieldsOf(message: Buffer): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => message.subarray(at, (at += length));
  while (at < message.length) {
    const tag = Number(varint());
    const number = tag >> 3;
    const wireType = tag & 7;
    if (wireType === 0) yield { number, bytes: Buffer.alloc(0), value: varint() };
    else if (wireType === 2) yield { number, bytes: take(Number(varint())), value: 0n };
    else {
      const bytes = take(wireType === 1 ? 8 : 4);
      yield { number, bytes, value: wireType === 1 ? bytes.readBigUInt64LE() : BigInt(bytes.readUInt32LE()) };
    }
  }
}

const all = (message: Buffer, number: number): readonly Field[] =>
  [...fieldsOf(message)].filter((field) => field.number === number);
const bytesAt = (message: Buffer, number: number): Buffer => all(message, number)[0]?.bytes ?? Buffer.alloc(0);
const valueAt = (message: Buffer, number: number): bigint => all(message, number)[0]?.value ?? 0n;

function attributesOf(message: Buffer, number: number): Record<string, string | number> {
  return Object.fromEntries(
    all(message, number).map(({ bytes }) => {
      const [field] = [...fieldsOf(bytesAt(bytes, 2))];
      const isText = field?.number === 1;
      return [bytesAt(bytes, 1).toString(), isText ? field.bytes.toString() : Number(field?.value ?? 0)];
    }),
  );
}

function spansOf(body: Buffer): Span[] {
  return all(body, 1).flatMap(({ bytes: ofResource }) => {
    const service = String(attributesOf(bytesAt(ofResource, 1), 1)['service.name']);
    const scopes = all(ofResource, 2).flatMap(({ bytes }) => all(bytes, 2));
    return scopes.map(({ bytes }) => spanOf(service, bytes));
  });
}

function spanOf(service: string, span: Buffer): Span {
  const hex = (number: number) => bytesAt(span, number).toString('hex');
  const links = all(span, 13).map(({ bytes }) => ({
    traceId: bytesAt(bytes, 1).toString('hex'),
    spanId: bytesAt(bytes, 2).toString('hex'),
  }));
  return {
    service,
    traceId: hex(1),
    spanId: hex(2),
    parentId: hex(4),
    name: bytesAt(span, 5).toString(),
    startMs: Number(valueAt(span, 7) / 1_000_000n),
    endMs: Number(valueAt(span, 8) / 1_000_000n),
    attributes: attributesOf(span, 9),
    links,
    isError: valueAt(bytesAt(span, 15), 3) === 2n,
  };
}
