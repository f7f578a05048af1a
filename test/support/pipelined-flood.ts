// Many connections that ask many things at once, again and again, without waiting for one answer to ask the next.

import { once } from 'node:events';
import { connect } from 'node:net';

const statusLine = /HTTP\/1\.1 (\d{3}) /g;

export type Flooded = {
  /** How many answers had which status. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Requests that had no answer when all was over. */
  readonly unanswered: number;
  /** The longest that a connection waited for all its answers. */
  readonly slowestMs: number;
};

/** `depth` requests at once on each of the connections, for so long. */
export async function floodPipelined(
  http: string,
  path: string,
  { connections, depth, forMs }: { readonly connections: number; readonly depth: number; readonly forMs: number },
): Promise<Flooded> {
  const { hostname, port } = new URL(http);
  const says = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(depth);
  const endMs = performance.now() + forMs;
  const statuses = new Map<number, number>();
  let unanswered = 0;
  let slowestMs = 0;
  const askOn = async (): Promise<void> => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    while (performance.now() < endMs && socket.writable) {
      const fromMs = performance.now();
      socket.write(says);
      const answers = await answersOn(socket, depth);
      for (const status of answers) statuses.set(status, (statuses.get(status) ?? 0) + 1);
      unanswered += depth - answers.length;
      slowestMs = Math.max(slowestMs, performance.now() - fromMs);
    }
    socket.destroy();
  };
  await Promise.all(Array.from({ length: connections }, askOn));
  return { statuses, unanswered, slowestMs };
}

/** The statuses of so many answers, or of fewer when the connection ends. */
async function answersOn(socket: ReturnType<typeof connect>, count: number): Promise<readonly number[]> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const statuses: number[] = [];
  let text = '';
  const onData = (bytes: Buffer): void => {
    text += bytes.toString('latin1');
    let end = 0;
    for (const { 1: status, index, 0: line } of text.matchAll(statusLine)) {
      statuses.push(Number(status));
      end = index + line.length;
    }
    // A status line may be cut: what is behind the last one is looked at again.
    text = text.slice(end);
    if (statuses.length >= count) resolve();
  };
  const onEnd = (): void => resolve();
  socket.on('data', onData).once('close', onEnd);
  await promise;
  socket.off('data', onData).off('close', onEnd);
  return statuses;
}
