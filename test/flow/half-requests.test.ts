import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startListening } from '../support/stage.ts';
import { until } from '../support/until.ts';

const stopMsMax = 5_000;

const head = 'Host: localhost\r\nContent-Type: application/json\r\n';
const kick = `DELETE /users/ann/sessions HTTP/1.1\r\n${head}`;
const health = `GET /healthz HTTP/1.1\r\n${head}\r\n`;

/** What a client says, and the answer by which it knows that the server has it. */
const halves: readonly (readonly [what: string, says: string, hears: RegExp])[] = [
  ['half a head', `${health}GET /users/ann/presence HTTP/1.1\r\nHost: local`, /"ok"/],
  ['half a body', `${kick}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{`, /^HTTP\/1\.1 100 /],
  ['half a chunk', `${kick}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{`, /^HTTP\/1\.1 100 /],
];

type Client = { readonly socket: Socket; readonly heard: () => string; readonly isOver: () => boolean };

/** One that never hangs up, as the system of a client does that has been told to. */
function open(port: number): Client {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let heard = '';
  socket.on('data', (bytes) => {
    heard += bytes.toString();
  });
  socket.on('error', () => undefined);
  let isOver = false;
  for (const end of ['end', 'close']) {
    socket.on(end, () => {
      isOver = true;
    });
  }
  return { socket, heard: () => heard, isOver: () => isOver };
}

test.each(halves)('SIGTERM ends in time with code 0 though a client has sent %s', async (what, says, hears) => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using willow = await startListening(mosquitto, database, {});
  const { socket, heard, isOver } = open(Number(new URL(willow.http).port));
  try {
    socket.write(says);
    await until(`the server to have ${what}`, () => hears.test(heard()));
    const before = heard();
    expect(isOver()).toBe(false);
    const stoppedAtMs = performance.now();
    expect(await willow.child.end('SIGTERM')).toBe(0);
    expect(performance.now() - stoppedAtMs).toBeLessThan(stopMsMax);
    expect(willow.log().at(-1)).toMatchObject({ event: 'willow.stopped', signal: 'SIGTERM' });
    await until('the end of the connection', isOver);
    expect(heard()).toBe(before);
  } finally {
    socket.destroy();
  }
});

const upgrade = `GET /healthz HTTP/1.1\r\n${head}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
/** Ways to ask for something that is no answer, and what is heard instead. */
const otherWays: readonly (readonly [what: string, says: string, hears: RegExp])[] = [
  ['CONNECT', `CONNECT example.com:443 HTTP/1.1\r\n${head}\r\n`, /^HTTP\/1\.1 400 /],
  ['CONNECT behind another request', `${health}CONNECT example.com:443 HTTP/1.1\r\n${head}\r\n`, /^/],
  ['Upgrade', upgrade, /^HTTP\/1\.1 200 [^]*"ok"/],
  ['an unknown Expect', `${kick}Expect: more\r\nContent-Length: 100\r\n\r\n{`, /^HTTP\/1\.1 417 /],
  ['what is no HTTP', 'nonsense\r\n\r\n', /^HTTP\/1\.1 400 /],
];

test.each(otherWays)(
  'SIGTERM ends in time with code 0 though a client that never hangs up has sent %s',
  async (what, says, hears) => {
    await using mosquitto = await startMosquitto();
    await using database = await createDatabase();
    await using willow = await startListening(mosquitto, database, {});
    const { socket, heard, isOver } = open(Number(new URL(willow.http).port));
    try {
      socket.write(says);
      await until(`an answer to ${what}`, () => (heard() !== '' && hears.test(heard())) || isOver());
      const stoppedAtMs = performance.now();
      expect(await willow.child.end('SIGTERM')).toBe(0);
      expect(performance.now() - stoppedAtMs).toBeLessThan(stopMsMax);
      expect(willow.log().at(-1)).toMatchObject({ event: 'willow.stopped', signal: 'SIGTERM' });
      await until('the end of the connection', isOver);
      if (heard() !== '') expect(heard()).toMatch(hears);
    } finally {
      socket.destroy();
    }
  },
);

test('SIGTERM ends in time with code 0 though a hundred clients have sent half of a request', async () => {
  await using mosquitto = await startMosquitto();
  await using database = await createDatabase();
  await using willow = await startListening(mosquitto, database, {});
  const clients = Array.from({ length: 100 }, () => open(Number(new URL(willow.http).port)));
  try {
    for (const [index, { socket }] of clients.entries()) socket.write(halves[index % halves.length]?.[1] ?? '');
    await until('all of them to be known to the server', () => clients.every(({ heard }) => heard() !== ''));
    const stoppedAtMs = performance.now();
    expect(await willow.child.end('SIGTERM')).toBe(0);
    expect(performance.now() - stoppedAtMs).toBeLessThan(stopMsMax);
    await until('the end of every connection', () => clients.every(({ isOver }) => isOver()));
  } finally {
    for (const { socket } of clients) socket.destroy();
  }
});
