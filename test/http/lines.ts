// Connections that a test holds in its hand: it says what it likes when it likes, and sees what came and whether it is over.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export type Line = {
  readonly socket: Socket;
  readonly heard: () => string;
  readonly isOver: () => boolean;
};

export async function openLine(port: number): Promise<Line> {
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  let isOver = false;
  socket.on('data', (bytes) => {
    heard += bytes.toString('latin1');
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isOver = true;
  });
  await once(socket, 'connect');
  return { socket, heard: () => heard, isOver: () => isOver };
}

export const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** The status of each answer, in order. */
export const statusesOf = (heard: string): number[] =>
  [...heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
