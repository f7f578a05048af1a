import { pino } from 'pino';
import { expect, test } from 'vitest';
import { listenForHints } from '../../src/store/hints.ts';
import { createDatabase } from '../support/database.ts';
import { databaseThrough } from '../support/database-url.ts';
import { unframed } from '../support/framing.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

test('a connection that was well and is lost is back within a moment, however often that has happened', async () => {
  await using database = await createDatabase();
  await using proxy = await startTcpProxy(Number(new URL(database.url).port), unframed);
  type Line = { readonly event: string; readonly waitMs: number };
  const lines: Line[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
  const stopping = new AbortController();
  let [connections, erased] = [0, 0];
  const onHint = {
    willow_log: () => {
      connections += 1;
    },
    willow_erased: () => {
      erased += 1;
    },
    willow_endpoints: () => undefined,
  };
  const url = databaseThrough(proxy.port, database.url);
  const listening = listenForHints(url, onHint, { signal: stopping.signal, logger });
  const losses = 8;
  for (let loss = 1; loss <= losses; loss += 1) {
    await until('a connection', () => connections === loss);
    proxy.cut();
    await until('the loss', () => lines.length === loss);
  }
  await until('a connection', () => connections > losses);
  expect(lines.map(({ event }) => event)).toEqual(Array.from({ length: losses }, () => 'hints.lost'));
  expect(Math.max(...lines.map(({ waitMs }) => waitMs))).toBeLessThanOrEqual(300);
  const before = erased;
  await database.pool.query('notify willow_erased');
  await until('a hint', () => erased > before);
  stopping.abort();
  await listening;
});
