import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createHttpServer, listen } from '../../src/http/server.ts';
import { StartError } from '../../src/runtime/start-error.ts';
import { ports, serve } from './serve.ts';

/** Stands for the operating system, which refuses nothing to root. */
const refuses = (code: string) => ({ listen: () => Promise.reject(Object.assign(new Error(code), { code })) });
const address = { host: '127.0.0.1', port: 8080 };

const createApp = () => createHttpServer({ ...ports, logger: pino({ level: 'silent' }) });

test('a port that is taken ends the start with a sentence', async () => {
  await using other = await serve();
  await using app = createApp();
  const failure = listen(app, { host: '127.0.0.1', port: other.port });
  await expect(failure).rejects.toThrow(StartError);
  await expect(failure).rejects.toThrow(`HTTP_HOST 127.0.0.1, HTTP_PORT ${other.port}: another program listens there`);
});

test('an address that this machine does not have ends the start with a sentence', async () => {
  await using app = createApp();
  await expect(listen(app, { host: '192.0.2.1', port: 0 })).rejects.toThrow(
    /HTTP_HOST 192\.0\.2\.1.* no such address/u,
  );
});

test('a port that needs rights, and a name that does not resolve, end the start with a sentence', async () => {
  await expect(listen(refuses('EACCES') as never, address)).rejects.toThrow(
    /HTTP_PORT 8080: this user may not listen/u,
  );
  await expect(listen(refuses('ENOTFOUND') as never, address)).rejects.toThrow(/does not resolve/u);
});

test('what is no fault of the settings is thrown as it is', async () => {
  await expect(listen(refuses('EMFILE') as never, address)).rejects.not.toBeInstanceOf(StartError);
});

test('the URL that is served is told', async () => {
  await using served = await serve();
  expect(served.url).toBe(`http://127.0.0.1:${served.port}`);
  expect((await fetch(`${served.url}/healthz`)).status).toBe(200);
});
