// A TCP proxy between Willow and a server, on a port that stays while the server's may change. It can hold what passes, swallow it, or cut
// the connection, at exactly the packet that a test names; and it counts how often it did, because a test that never met its fault
// has shown nothing.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Framing, Sender } from './framing.ts';

/** `hold` holds this packet and everything after it, on every connection, until the release. */
export type Verdict = 'pass' | 'swallow' | 'hold' | 'cut';

export type Passing<P> = {
  readonly from: Sender;
  readonly packet: P;
  /** 1, 2, 3 …: the connections in the order in which they were opened. */
  readonly connection: number;
};

export type Judge<P> = (passing: Passing<P>) => Verdict;

export type TcpProxy<P> = AsyncDisposable & {
  readonly port: number;
  /** How often each fault was met: packets swallowed and held, connections cut, by a verdict or by `cut`. */
  readonly faults: Readonly<Record<Exclude<Verdict, 'pass'>, number>>;
  /** Connections that were opened so far. */
  readonly opened: () => number;
  /** From here on every packet is judged; null lets all pass. */
  readonly judge: (judge: Judge<P> | null) => void;
  /** Sees every packet as it arrives, before it is judged. */
  readonly watch: (watcher: (passing: Passing<P>) => void) => void;
  /** Where connections lead from here on. */
  readonly pointTo: (port: number) => void;
  /** As an unplugged cable: both sides stay connected and hear nothing, not even that the other has gone. */
  readonly hold: () => void;
  readonly release: () => void;
  /** Cuts every connection; returns how many. */
  readonly cut: () => number;
};

type Link = { readonly number: number; readonly sockets: Readonly<Record<Sender, Socket>> };

export async function startTcpProxy<P>(targetPort: number, framing: Framing<P>): Promise<TcpProxy<P>> {
  const faults = { swallow: 0, hold: 0, cut: 0 };
  const links = new Set<Link>();
  const watchers: ((passing: Passing<P>) => void)[] = [];
  let opened = 0;
  let target = targetPort;
  let judge: Judge<P> | null = null;
  /** What happens at the release; null while nothing is held. */
  let held: (() => void)[] | null = null;

  const destroy = (link: Link) => {
    links.delete(link);
    link.sockets.client.destroy();
    link.sockets.server.destroy();
  };
  const pass = (link: Link, from: Sender, bytes: Buffer) => {
    const to = link.sockets[from === 'client' ? 'server' : 'client'];
    if (!to.writable || to.write(bytes) || link.sockets[from].isPaused()) return;
    // Whoever does not read slows the other down, as without a proxy.
    link.sockets[from].pause();
    to.once('drain', () => link.sockets[from].resume());
  };
  const forward = (link: Link, from: Sender, bytes: Buffer, packet: P) => {
    if (!links.has(link)) return;
    const passing = { from, packet, connection: link.number };
    for (const watcher of watchers) watcher(passing);
    const verdict = judge?.(passing) ?? 'pass';
    if (verdict === 'swallow') faults.swallow += 1;
    if (verdict === 'cut') {
      faults.cut += 1;
      destroy(link);
    }
    if (verdict === 'hold') held ??= [];
    if (verdict !== 'pass' && verdict !== 'hold') return;
    if (held === null) pass(link, from, bytes);
    else {
      faults.hold += 1;
      held.push(() => pass(link, from, bytes));
    }
  };
  const open = (client: Socket) => {
    const server = connect({ port: target, host: '127.0.0.1', noDelay: true });
    opened += 1;
    const link = { number: opened, sockets: { client, server } };
    links.add(link);
    const packetsOf = framing();
    for (const from of ['client', 'server'] as const) {
      const socket = link.sockets[from];
      socket.on('data', (bytes) => {
        for (const { bytes: frame, packet } of packetsOf(from, bytes)) forward(link, from, frame, packet);
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        if (held === null) destroy(link);
        else held.push(() => destroy(link));
      });
    }
  };

  const listener = createServer({ noDelay: true }, open).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    faults,
    opened: () => opened,
    judge: (next) => {
      judge = next;
    },
    watch: (watcher) => {
      watchers.push(watcher);
    },
    pointTo: (port) => {
      target = port;
    },
    hold: () => {
      held ??= [];
    },
    release: () => {
      const due = held ?? [];
      held = null;
      for (const act of due) act();
    },
    cut: () => {
      const { size } = links;
      faults.cut += size;
      for (const link of links) destroy(link);
      return size;
    },
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const link of links) destroy(link);
      if (listener.listening) await once(listener, 'close');
    },
  };
}
