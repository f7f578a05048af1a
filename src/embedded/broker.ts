// The embedded broker: aedes (MQTT 3.1.1) on the loopback address for whoever sets no MQTT_URL, started before the app,
// which sees nothing but a URL. For trying things out: it keeps sessions in memory and acknowledges a message before
// it is delivered, so a broker's guarantees are not to be had from it. Other clients are let in when Willow has subscribed: what they said
// before that would be acknowledged, and heard by nobody.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Aedes } from 'aedes';
import { StartError } from '../runtime/start-error.ts';

export interface EmbeddedBroker extends AsyncDisposable {
  readonly url: string;
}

const host = '127.0.0.1';

/** Port 0 takes any that is free. */
export async function startEmbeddedBroker(options: {
  readonly port: number;
  /** The client id of Willow: others wait until it has subscribed. Without one nobody waits. */
  readonly subscriber?: string;
}): Promise<EmbeddedBroker> {
  let isOpen = options.subscriber === undefined;
  const waiting: (() => void)[] = [];
  const broker = await Aedes.createBroker({
    // CONNACK waits, and with it the client.
    authenticate: ({ id }, _username, _password, done) => {
      const enter = () => done(null, true);
      if (isOpen || id === options.subscriber) enter();
      else waiting.push(enter);
    },
  });
  broker.on('subscribe', (_subscriptions, { id }) => {
    if (id !== options.subscriber) return;
    isOpen = true;
    for (const enter of waiting.splice(0)) enter();
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    broker.handle(socket);
  });
  const close = async (): Promise<void> => {
    const closed = server.listening ? once(server, 'close') : null;
    server.close();
    const brokerClosed = new Promise<void>((resolve) => {
      broker.close(resolve);
    });
    // Those too who never sent a CONNECT, whom aedes does not count, and those who no longer read.
    for (const socket of sockets) socket.destroy();
    await brokerClosed;
    await closed;
  };
  try {
    return { url: `mqtt://${host}:${await listen(server, options.port)}`, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new StartError(refusal(port, cause), { cause });
  }
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

function refusal(port: number, cause: unknown): string {
  if (cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is in use: set EMBEDDED_MQTT_PORT to a free port, or MQTT_URL to a broker that is there.`;
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return `The embedded broker cannot listen on port ${port} of ${host} (${reason}): set EMBEDDED_MQTT_PORT to another port.`;
}
