// A crowd of clients that are slow in every way there is, held by one timer: none of them ever gets an answer that it reads.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const head = 'Host: localhost\r\nContent-Type: application/json\r\n';
const kick = `DELETE /users/slow/sessions HTTP/1.1\r\n${head}`;

type Way = {
  readonly says: string;
  /** Every second, one byte of it. */
  readonly drips: string;
  readonly reads: boolean;
};

const slowWays = {
  'says nothing': { says: '', drips: '', reads: true },
  'sends half a head': { says: 'GET /users/slow/presence HTTP/1.1\r\nHost: loc', drips: '', reads: true },
  'sends its head byte by byte': { says: 'GET /users/slow/presence HTTP/1.1\r\nX: ', drips: 'x', reads: true },
  'sends half a body': { says: `${kick}Content-Length: 60\r\n\r\n{`, drips: '', reads: true },
  'sends its body byte by byte': { says: `${kick}Content-Length: 60000\r\n\r\n{`, drips: ' ', reads: true },
  'sends chunks without end': { says: `${kick}Transfer-Encoding: chunked\r\n\r\n`, drips: '1\r\n \r\n', reads: true },
  'reads no answer': { says: `GET /metrics HTTP/1.1\r\n${head}\r\n`.repeat(16), drips: '', reads: false },
} as const satisfies Record<string, Way>;

export type SlowWay = keyof typeof slowWays;
export const slowWaysThatNotice = (Object.keys(slowWays) as SlowWay[]).filter((way) => slowWays[way].reads);

export type SlowCrowd = Disposable & {
  /** How many of the crowd are connected still. */
  readonly held: () => number;
  /** The same, of one way; those who read nothing do not notice that they are not. */
  readonly heldOf: (way: SlowWay) => number;
};

/** All of them are connected when it resolves, and take turns in the ways. */
export async function openSlowCrowd(port: number, count: number): Promise<SlowCrowd> {
  const ways = Object.entries<Way>(slowWays);
  const crowd: { readonly socket: Socket; readonly name: string; readonly way: Way }[] = [];
  // In small groups, so that the queue of connections of the system is not what is tested.
  const groupSize = 100;
  while (crowd.length < count) {
    const group = Array.from({ length: Math.min(groupSize, count - crowd.length) }, (_, index) => {
      const [name, way] = ways[(crowd.length + index) % ways.length] ?? ways[0]!;
      return { socket: connect(port, '127.0.0.1'), name, way };
    });
    await Promise.all(
      group.map(async ({ socket, way }) => {
        socket.on('error', () => undefined);
        await once(socket, 'connect');
        socket.write(way.says);
        if (way.reads) socket.resume();
        else socket.pause();
      }),
    );
    crowd.push(...group);
  }
  const dripping = setInterval(() => {
    for (const { socket, way } of crowd) if (way.drips !== '' && socket.writable) socket.write(way.drips);
  }, 1_000);
  const isHeld = ({ socket }: { readonly socket: Socket }): boolean => !socket.closed && !socket.readableEnded;
  return {
    held: () => crowd.filter(isHeld).length,
    heldOf: (way) => crowd.filter((one) => one.name === way && isHeld(one)).length,
    [Symbol.dispose]: () => {
      clearInterval(dripping);
      for (const { socket } of crowd) socket.destroy();
    },
  };
}
