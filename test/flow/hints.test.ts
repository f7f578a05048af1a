import { pino } from 'pino';
import { expect, test } from 'vitest';
import { listenForHints } from '../../src/store/hints.ts';
import { createDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { unframed } from '../support/framing.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

type Line = { readonly event: string; readonly waitMs: number };

async function listen(ask?: { readonly everyMs: number; readonly answerMsMax: number }) {
  await using opening = new AsyncDisposableStack();
  const database = opening.use(await createDatabase());
  const proxy = opening.use(await startTcpProxy(Number(new URL(database.url).port), unframed));
  const lines: Line[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
  const stopping = new AbortController();
  const heard = { connections: 0, erased: 0 };
  const onHint = {
    willow_log: () => {
      heard.connections += 1;
    },
    willow_erased: () => {
      heard.erased += 1;
    },
    willow_endpoints: () => undefined,
  };
  const options = { signal: stopping.signal, logger, ...(ask !== undefined && { ask }) };
  const listening = listenForHints(databaseThrough(proxy.port, database.url), onHint, options);
  opening.defer(async () => {
    stopping.abort();
    await listening;
  });
  const opened = opening.move();
  const expectHint = async () => {
    const before = heard.erased;
    await database.pool.query('notify willow_erased');
    await until('a hint', () => heard.erased > before);
  };
  return { proxy, lines, heard, expectHint, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

test('a connection that was well and is lost is back within a moment, however often that has happened', async () => {
  await using listener = await listen();
  const { proxy, lines, heard, expectHint } = listener;
  const losses = 8;
  for (let loss = 1; loss <= losses; loss += 1) {
    await until('a connection', () => heard.connections === loss);
    proxy.cut();
    await until('the loss', () => lines.length === loss);
  }
  await until('a connection', () => heard.connections > losses);
  expect(lines.map(({ event }) => event)).toEqual(Array.from({ length: losses }, () => 'hints.lost'));
  expect(Math.max(...lines.map(({ waitMs }) => waitMs))).toBeLessThanOrEqual(300);
  await expectHint();
});

test('a connection that dies without a word is found, and another one is opened', async () => {
  await using listener = await listen({ everyMs: 50, answerMsMax: 1_000 });
  const { proxy, lines, heard, expectHint } = listener;
  await until('a connection', () => heard.connections === 1);
  await expectHint();
  // The first one hears nothing any more; those after it do.
  proxy.judge(({ connection }) => (connection === 1 ? 'swallow' : 'pass'));
  await until('another one', () => heard.connections > 1);
  expect(proxy.faults.swallow).toBeGreaterThan(0);
  expect(lines[0]?.event).toBe('hints.lost');
  await expectHint();
});
