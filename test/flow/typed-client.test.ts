// A client that is generated from the document that a running Willow serves: its types hold what a caller relies on, and its calls are
// answered.

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { openStage } from '../support/stage.ts';

const run = promisify(execFile);
const apiKey = 'typed-client-0123456789abcdef';
const client = new URL('../typed-client/', import.meta.url);
const generated = new URL('generated/', client);
const generator = createRequire(new URL('package.json', client)).resolve('openapi-typescript');
const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));

test('a client that is generated from the served document is right by tsc, and gets its answers', async () => {
  await using stage = await openStage({ API_KEY: apiKey });
  const url = stage.willow.http;
  const document = await fetch(`${url}/openapi.json`);
  expect(document.headers.get('content-type')).toBe('application/json; charset=utf-8');

  await mkdir(generated, { recursive: true });
  const served = fileURLToPath(new URL('openapi.json', generated));
  await writeFile(served, await document.text());
  const cli = fileURLToPath(new URL('../bin/cli.js', `file://${generator}`));
  const types = fileURLToPath(new URL('willow.d.ts', generated));
  await run(process.execPath, [cli, served, '--default-non-nullable=false', '--output', types]);
  const checked = await run(process.execPath, [tsc, '--noEmit', '--project', fileURLToPath(client)]).catch(String);
  expect(checked).toEqual({ stdout: '', stderr: '' });

  const { tour } = (await import(new URL('client.ts', client).href)) as {
    readonly tour: (baseUrl: string, key: string) => Promise<unknown>;
  };
  expect(await tour(url, apiKey)).toEqual({
    before: 'offline',
    after: 'online',
    sessions: ['kicked'],
    ends: ['kicked', 'kicked'],
    wrongLanes: ['lanes'],
    unknownSession: 404,
    withoutKey: 'urn:willow:problem:unauthorized',
    followed: ['session.ended', 'user.offline'],
    listed: 2,
    refused: '404 400 400 400 422 400 422',
  });
}, 120_000);
