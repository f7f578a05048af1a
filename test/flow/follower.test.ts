// The reference follower where no fault is needed: a key that is refused, and users who are erased.

import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { erase } from '../../examples/follower/erase.ts';
import { follow } from '../../examples/follower/follower.ts';
import { openSqliteCopy, type SqliteCopy } from '../../examples/follower/sqlite-copy.ts';
import { startChild } from '../support/process.ts';
import { openStage, type Stage, settled } from '../support/stage.ts';
import { until } from '../support/until.ts';

type Manifest = Readonly<Record<'dependencies' | 'devDependencies', Readonly<Record<string, string>>>>;

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '0' });
});

afterAll(async () => {
  await stage[Symbol.asyncDispose]();
});

const birth = (userId: string, epoch: number) => stage.voice.say('/login', { userId, sessionId: 'phone', epoch });
const whenOnline = (copy: SqliteCopy, userId: string) =>
  until(`${userId} online in the copy`, () => copy.presenceOf(userId)?.status === 'online');

test('a follower whose key is refused stops, and says why', async () => {
  const env = {
    PATH: process.env['PATH'],
    WILLOW_URL: stage.willow.http,
    WILLOW_KEY: 'wlk_0123456789abcdef_not-a-key',
    COPY_FILE: ':memory:',
  };
  await using child = await startChild(process.execPath, ['examples/follower/main.ts'], { env });
  expect(await child.exited).toBe(1);
  expect(child.lines.join('\n')).toMatch(/"follower.stopped","detail":"Willow answered 401: \{.*\}"\}$/u);
});

test('lifted into an empty directory, with its one dependency, it follows; and says so after a restart, from where it was', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'willow-follower-'));
  try {
    await cp('examples/follower', directory, { recursive: true, filter: (path) => !path.endsWith('node_modules') });
    const { dependencies } = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Manifest;
    const { devDependencies } = JSON.parse(await readFile('package.json', 'utf8')) as Manifest;
    await mkdir(join(directory, 'node_modules'));
    for (const [name, version] of Object.entries(dependencies)) {
      expect(version).toBe(devDependencies[name]);
      await symlink(await realpath(join('node_modules', name)), join(directory, 'node_modules', name));
    }
    const env = { PATH: process.env['PATH'], WILLOW_URL: stage.willow.http, COPY_FILE: 'copy.db' };
    const said = async (event: string) => {
      await using child = await startChild(process.execPath, ['main.ts'], { env, cwd: directory });
      const line = await child.line((one) => one.startsWith(`{"event":"${event}"`) && one, event);
      return { line, all: [...child.lines], exit: await child.end('SIGTERM') };
    };
    const first = await said('following');
    expect(first.all[0]).toMatch(/^{"event":"snapshot.taken","detail":{"position":\d+,"head":\d+}}$/);
    expect(await said('following')).toEqual({ line: first.line, all: [first.line], exit: 0 });
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('an erased user is forgotten by the copy, and one who comes back begins anew', async () => {
  using copy = openSqliteCopy(':memory:');
  const stop = new AbortController();
  const source = { url: stage.willow.http };
  await birth('ada', 1);
  await settled(stage.willow, stage.voice);
  const following = follow(source, copy, stop.signal);
  await whenOnline(copy, 'ada');
  for (let epoch = 2; epoch < 20; epoch += 1) {
    await stage.voice.say('/logout', { userId: 'ada', sessionId: 'phone', epoch: epoch - 1 });
    await birth('ada', epoch);
  }
  await settled(stage.willow, stage.voice);
  await erase(source, copy, 'ada', stop.signal);
  expect(copy.presenceOf('ada')).toMatchObject({ status: 'offline', since: null, sequence: 0, sessionIds: [] });

  await birth('ada', 1);
  await whenOnline(copy, 'ada');
  expect(copy.presenceOf('ada')).toMatchObject({ sequence: 2, sessionIds: ['phone'] });
  stop.abort();
  await following;
});
