// A webhook receiver on bare sockets, over TCP or TLS, that can do what no HTTP library would. It counts the connections that
// were opened to it, and remembers the requests that arrived whole.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';

export type RawRequest = {
  readonly line: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

export type RawReceiver = AsyncDisposable & {
  readonly port: number;
  readonly url: string;
  readonly requests: readonly RawRequest[];
  /** TCP connections so far. */
  readonly opened: () => number;
  /** TCP connections that are open now. */
  readonly open: () => number;
};

export type RawOptions = {
  readonly host?: string;
  readonly port?: number;
  /** Speak TLS with this certificate. */
  readonly tls?: Certificate;
  /** Is told of every connection as it opens, and of the name that a TLS client asked for. */
  readonly onConnection?: (socket: Socket) => void;
};

/** `answer` is called with each request that has arrived whole. */
export async function startRawReceiver(
  answer: (socket: Socket, request: RawRequest) => void,
  options: RawOptions = {},
): Promise<RawReceiver> {
  const { host = '127.0.0.1', tls } = options;
  const sockets = new Set<Socket>();
  const requests: RawRequest[] = [];
  let opened = 0;
  const hear = (socket: Socket) => {
    socket.on('error', () => undefined);
    options.onConnection?.(socket);
    readRequests(socket, (request) => {
      requests.push(request);
      answer(socket, request);
    });
  };
  const server: Server = tls === undefined ? createServer(hear) : createTlsServer(tls, hear);
  server.on('connection', (socket) => {
    opened += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(options.port ?? 0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `${tls === undefined ? 'http' : 'https'}://${host}:${port}/hook`,
    requests,
    opened: () => opened,
    open: () => sockets.size,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

function readRequests(socket: Socket, onRequest: (request: RawRequest) => void): void {
  let received = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    for (;;) {
      const headEnd = received.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const [line = '', ...fields] = received.toString('latin1', 0, headEnd).split('\r\n');
      const headers = Object.fromEntries(
        fields.map((field) => {
          const colon = field.indexOf(':');
          return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
        }),
      );
      const end = headEnd + 4 + Number(headers['content-length'] ?? 0);
      if (received.length < end) return;
      const body = received.toString('utf8', headEnd + 4, end);
      received = received.subarray(end);
      onRequest({ line, headers, body });
    }
  });
}

export type Certificate = { readonly key: string; readonly cert: string };

/** A certificate that signs itself, for these names or addresses (`DNS:localhost`, `IP:127.0.0.1`). */
export async function makeCertificate(...altNames: readonly string[]): Promise<Certificate> {
  const directory = await mkdtemp(join(tmpdir(), 'willow-certificate-'));
  try {
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const names = ['-subj', '/CN=willow test', '-addext', `subjectAltName=${altNames.join(',')}`];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    await promisify(execFile)('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert]);
    return { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
  } finally {
    await rm(directory, { recursive: true });
  }
}
