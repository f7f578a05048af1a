// The minute of trying that the README offers, as it stands there.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documented } from '../support/documented.ts';
import { startChild } from '../support/process.ts';
import { openStage } from '../support/stage.ts';

test('the minute of the README shows what it says: online, lost, offline, and why', async () => {
  await using stage = await openStage();
  await using stack = new AsyncDisposableStack();
  const home = await mkdtemp(join(tmpdir(), 'willow-minute-'));
  stack.defer(() => rm(home, { recursive: true }));
  // The commands stay as they are printed: the tools are told by their own files that the ports are others, and to give up in the end.
  await writeFile(join(home, 'mosquitto_sub'), `-p ${stage.mosquitto.port}\n-W 300\n`);
  await writeFile(join(home, 'mosquitto_pub'), `-p ${stage.mosquitto.port}\n`);
  await writeFile(join(home, '.curlrc'), `connect-to = "localhost:8080:${new URL(stage.willow.http).host}"\n`);
  const block = documented('README.md', 'sh', '## A minute of trying');
  // What a person would read off the answer, and wait for, is waited for.
  const script = block.replaceAll(/^(curl .*?) +# ("[^"]+":"[^"]+").*$/gm, (_line, curl: string, shown: string) => {
    return `until ${curl} | grep -F '${shown}'; do sleep 0.05; done`;
  });
  const shown = [...block.matchAll(/# ("[^"]+":"[^"]+")/g)].map(([, text = '']) => text);
  expect(shown).toEqual(['"status":"online"', '"status":"lost"', '"status":"offline"', '"reason":"will"']);
  const env = { PATH: process.env['PATH'], XDG_CONFIG_HOME: home, CURL_HOME: home };
  // Job control, which a shell has when a person sits before it.
  const shell = stack.use(await startChild('bash', ['-c', `set -m\n${script}`], { env }));
  expect(await shell.exited).toBe(0);
  for (const text of shown) expect(shell.lines.join('\n')).toContain(text);
});
