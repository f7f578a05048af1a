// Clients of the broker in great number, or ill-behaved: bare sockets that speak MQTT 3.1.1 and acknowledge nothing they receive.

import { connect, type Socket } from 'node:net';
import { generate, type Packet, parser } from 'mqtt-packet';

/** What stands in the birth and in the will of one connection. */
export type Identity = { readonly userId: string; readonly sessionId: string; readonly epoch: number };

export type BareClient = Disposable & {
  /** Resolves with the PUBACK. */
  readonly publish: (topic: string, payload: string) => Promise<void>;
  /** The connection ends without a DISCONNECT: the broker publishes the will. */
  readonly vanish: () => void;
  /** Resolves when the connection is over, whoever ended it. */
  readonly closed: Promise<void>;
  readonly packets: readonly Packet[];
};

export type BareClientOptions = {
  readonly clientId: string;
  /** True: the broker forgets the session of this client id. */
  readonly clean: boolean;
  readonly will?: { readonly topic: string; readonly payload: string };
};

const joinsAtOnceMax = 100;

/** Connects everyone with a will and publishes every birth. */
export async function joinAll(port: number, identities: readonly Identity[]): Promise<readonly BareClient[]> {
  const crowd: BareClient[] = [];
  for (let first = 0; first < identities.length; first += joinsAtOnceMax) {
    const some = identities.slice(first, first + joinsAtOnceMax);
    crowd.push(...(await Promise.all(some.map((identity) => join(port, identity)))));
  }
  return crowd;
}

async function join(port: number, identity: Identity): Promise<BareClient> {
  const payload = JSON.stringify(identity);
  const clientId = `${identity.userId}-${identity.sessionId}`;
  const client = await openBareClient(port, { clientId, clean: true, will: { topic: '/logout', payload } });
  await client.publish('/login', payload);
  return client;
}

/** Resolves with the CONNACK. */
export async function openBareClient(port: number, options: BareClientOptions): Promise<BareClient> {
  const socket = connect(port, '127.0.0.1');
  const packets: Packet[] = [];
  const answers = listen(socket, packets);
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  socket.once('close', () => close());
  // The broker is ended on purpose; what the test waits for tells whether that is right.
  socket.on('error', () => undefined);
  const { clientId, clean, will } = options;
  const connack = answers.next('connack');
  socket.write(
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId,
      clean,
      keepalive: 0,
      ...(will === undefined
        ? {}
        : { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: false } }),
    }),
  );
  await connack;
  let lastId = 0;
  return {
    packets,
    closed,
    vanish: () => socket.destroy(),
    [Symbol.dispose]: () => socket.destroy(),
    publish: async (topic, payload) => {
      lastId += 1;
      const puback = answers.next('puback');
      socket.write(generate({ cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false, messageId: lastId }));
      await puback;
    },
  };
}

function listen(socket: Socket, packets: Packet[]) {
  const waiting: { readonly cmd: string; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const stream = parser({ protocolVersion: 4 });
  stream.on('packet', (packet) => {
    packets.push(packet);
    const index = waiting.findIndex(({ cmd }) => cmd === packet.cmd);
    if (index >= 0) waiting.splice(index, 1)[0]?.resolve();
  });
  socket.on('data', (chunk) => stream.parse(chunk));
  socket.once('close', () => {
    for (const { cmd, reject } of waiting) reject(new Error(`the broker closed the connection before its ${cmd}`));
  });
  return {
    next: (cmd: string) => new Promise<void>((resolve, reject) => waiting.push({ cmd, resolve, reject })),
  };
}
