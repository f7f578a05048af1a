// Many readers of GET /events/stream in a process of their own: `stream-readers.ts <url> <readers> [bearer token]`. Each is a bare socket; how
// long ago an event was committed when it is received is told by its `at`, or by the clock that all processes of a machine share where its
// session id is a time of that clock. Prints a line with `connected` once all read, and with the figures for each line that comes on stdin.

import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { monotonicMs, percentile } from './stats.ts';

const [url = '', count = '2000', token = ''] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const authorization = token === '' ? '' : `Authorization: Bearer ${token}\r\n`;
const request = `GET /events/stream HTTP/1.1\r\nHost: localhost\r\n${authorization}\r\n`;
const openAtOnceMax = 100;

let tookMs: number[] = [];
let gaps = 0;
let closed = 0;
const dataLine = /^data: \{"position":(\d+),.*?"sessionId":"([^"]*)".*"at":"([^"]*)"\}$/gmu;

async function open(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = connect(Number(port), hostname, () => socket.write(request));
  let rest = '';
  let last = 0;
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    const nowMs = monotonicMs();
    const wallMs = Date.now();
    const text = rest + chunk;
    // Up to the last whole block; the lengths of chunks stand between blocks, and match nothing.
    const end = text.lastIndexOf('\n\n');
    rest = end < 0 ? text : text.slice(end + 2);
    if (end >= 0) resolve();
    for (const [, position, sentAt, at] of text.slice(0, Math.max(0, end)).matchAll(dataLine)) {
      if (last !== 0 && Number(position) !== last + 1) gaps += 1;
      last = Number(position);
      const sentMs = Number(sentAt);
      tookMs.push(Number.isNaN(sentMs) ? wallMs - Date.parse(at ?? '') : nowMs - sentMs);
    }
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    closed += 1;
  });
  await promise;
}

for (let opened = 0; opened < Number(count); opened += openAtOnceMax) {
  await Promise.all(Array.from({ length: Math.min(openAtOnceMax, Number(count) - opened) }, open));
}
process.stdout.write(`${JSON.stringify({ connected: Number(count) })}\n`);
for await (const _ of createInterface({ input: process.stdin })) {
  const all = tookMs;
  tookMs = [];
  const [p50Ms, p99Ms, maxMs] = [percentile(all, 0.5), percentile(all, 0.99), percentile(all, 1)];
  process.stdout.write(`${JSON.stringify({ received: all.length, p50Ms, p99Ms, maxMs, gaps, closed })}\n`);
  gaps = 0;
}
process.exit(0);
