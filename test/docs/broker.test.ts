// docs/broker.md and the code agree on why there may be no connection; the commands for a certificate make one.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { documented } from '../support/documented.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/broker.md');

test('every reason why there is no connection is explained with its remedy, and none is made up', () => {
  const [, type = ''] = /export type ConnectProblem =(.*?);/su.exec(read('src/ingest/connect-error.ts')) ?? [];
  const problems = [...type.matchAll(/\| '([a-z-]+)'/gu)].map(([, problem]) => problem);
  expect(problems.length).toBeGreaterThan(5);
  const [, section = ''] = page.split('\n### When there is no connection\n');
  const rows = [...section.matchAll(/^\| `([a-z-]+)` *\| (.+?) *\| (.+?) *\|$/gmu)];
  expect(rows.map(([, problem]) => problem)).toEqual(problems);
  for (const [, problem, happened, remedy] of rows) {
    expect(happened, problem).toMatch(/\w.*\.$/u);
    expect(remedy, problem).toMatch(/\w.*\.$/u);
  }
});

test('the commands for a certificate make one for the name of the broker, that whoever has the authority trusts', async () => {
  const cwd = await mkdtemp(join(tmpdir(), 'willow-certificate-'));
  const run = promisify(execFile);
  try {
    await writeFile(join(cwd, 'commands'), documented('docs/broker.md', 'sh certificate'));
    await run('sh', ['-e', 'commands'], { cwd });
    const verify = ['verify', '-x509_strict', '-CAfile', 'ca.pem', '-verify_hostname'];
    expect((await run('openssl', [...verify, 'broker', 'broker.pem'], { cwd })).stdout).toBe('broker.pem: OK\n');
    await expect(run('openssl', [...verify, 'other', 'broker.pem'], { cwd })).rejects.toThrow(/hostname mismatch/iu);
  } finally {
    await rm(cwd, { recursive: true });
  }
});
