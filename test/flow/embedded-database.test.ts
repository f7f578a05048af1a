import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { startEmbeddedDatabase } from '../../src/embedded/database.ts';
import { findServerUser } from '../../src/embedded/server-user.ts';
import { findTools } from '../../src/embedded/tools.ts';
import { StartError } from '../../src/runtime/start-error.ts';
import {
  ask,
  createHome,
  isAlive,
  kill,
  postmasterPid,
  privilegesOf,
  spawnOwner,
  startOwner,
} from '../support/embedded.ts';
import { until } from '../support/until.ts';

const lockHolder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted";
const isRoot = process.geteuid?.() === 0;

async function whyNot(dataDir: string): Promise<string> {
  try {
    await using database = await startEmbeddedDatabase({ dataDir });
    return `it started: ${database.url}`;
  } catch (error) {
    if (error instanceof StartError) return error.message;
    throw error;
  }
}

test('what was committed is there after a stop and a start, and nothing runs in between', async () => {
  await using home = await createHome();
  let pid: number;
  {
    await using database = await startEmbeddedDatabase(home);
    await ask(database.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    expect(await ask(database.url, 'SHOW server_encoding')).toBe('UTF8');
    expect(await ask(database.url, "SELECT current_setting('fsync') || current_setting('synchronous_commit')")).toBe(
      'onon',
    );
    pid = await postmasterPid(home.dataDir);
    expect(isAlive(pid)).toBe(true);
  }
  expect(isAlive(pid)).toBe(false);
  await using again = await startEmbeddedDatabase(home);
  expect(await ask(again.url, 'SELECT answer FROM kept')).toBe(42);
});

test('only who has the password gets in, and only the owner of the directory can read it', async () => {
  await using home = await createHome();
  await using database = await startEmbeddedDatabase(home);
  const stranger = new URL(database.url);
  stranger.password = 'guessed';
  await expect(ask(stranger.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
  expect(stranger.hostname).toBe('127.0.0.1');
  const { mode } = await stat(join(home.dataDir, 'postgres', 'willow.password'));
  expect(mode & 0o777).toBe(0o600);
});

test('stopping twice is stopping once', async () => {
  await using home = await createHome();
  const database = await startEmbeddedDatabase(home);
  await database[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

test('a start in the middle of a stop waits for its end', async () => {
  await using home = await createHome();
  const database = await startEmbeddedDatabase(home);
  await ask(database.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  const [again] = await Promise.all([startEmbeddedDatabase(home), database[Symbol.asyncDispose]()]);
  expect(await ask(again.url, 'SELECT answer FROM kept')).toBe(42);
  await again[Symbol.asyncDispose]();
});

test('Ctrl-C does not reach the server, and the server of a Willow that was killed is adopted with its data', async () => {
  await using home = await createHome();
  await using owner = await startOwner(home.dataDir);
  const { url = '' } = owner.answer;
  await ask(url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  const pid = await postmasterPid(home.dataDir);
  // As a terminal does: to the whole process group.
  process.kill(-owner.pid, 'SIGINT');
  expect(await ask(url, 'SELECT answer FROM kept')).toBe(42);
  await kill(owner.pid, 'SIGKILL');
  {
    await using adopted = await startEmbeddedDatabase(home);
    expect(adopted.url).toBe(url);
    expect(await postmasterPid(home.dataDir)).toBe(pid);
    expect(await ask(adopted.url, 'SELECT answer FROM kept')).toBe(42);
  }
  expect(isAlive(pid)).toBe(false);
});

test('a server that was killed together with its Willow is started anew over its stale lock file', async () => {
  await using home = await createHome();
  await using owner = await startOwner(home.dataDir);
  const { url = '' } = owner.answer;
  await ask(url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  await kill(owner.pid, 'SIGKILL');
  const pid = await postmasterPid(home.dataDir);
  await kill(pid, 'SIGKILL');
  await using again = await startEmbeddedDatabase(home);
  expect(await postmasterPid(home.dataDir)).not.toBe(pid);
  expect(await ask(again.url, 'SELECT answer FROM kept')).toBe(42);
});

test('a process of a killed server that has not left yet delays the next start, and does not prevent it', async () => {
  await using home = await createHome();
  await using owner = await startOwner(home.dataDir);
  const { url = '' } = owner.answer;
  const lingering = Number(await ask(url, lockHolder));
  process.kill(lingering, 'SIGSTOP');
  await kill(owner.pid, 'SIGKILL');
  await kill(await postmasterPid(home.dataDir), 'SIGKILL');
  const starting = startEmbeddedDatabase(home);
  const log = join(home.dataDir, 'postgres', 'willow.log');
  await until('a first attempt that fails', async () => (await readFile(log, 'utf8')).includes('FATAL'));
  process.kill(lingering, 'SIGCONT');
  await using database = await starting;
  expect(await ask(database.url, 'SELECT 1')).toBe(1);
});

test('a lock file whose process id is somebody else’s by now is nobody’s lock', async () => {
  await using home = await createHome();
  await (await startEmbeddedDatabase(home))[Symbol.asyncDispose]();
  const cluster = join(home.dataDir, 'postgres');
  const { uid, gid } = await stat(cluster);
  // Of the same user as the server: PostgreSQL alone would take it for one.
  const somebody = spawn('sleep', ['60'], isRoot ? { uid, gid } : {});
  try {
    await writeFile(join(cluster, 'postmaster.pid'), `${somebody.pid}\n${cluster}\n1\n5432\n\n127.0.0.1\n`);
    await using database = await startEmbeddedDatabase(home);
    expect(await ask(database.url, 'SELECT 1')).toBe(1);
    expect(somebody.exitCode).toBe(null);
  } finally {
    somebody.kill();
    await once(somebody, 'exit');
  }
});

test('a power cut that left the lock file empty does not prevent the start', async () => {
  await using home = await createHome();
  await (await startEmbeddedDatabase(home))[Symbol.asyncDispose]();
  await writeFile(join(home.dataDir, 'postgres', 'postmaster.pid'), '');
  await using database = await startEmbeddedDatabase(home);
  expect(await ask(database.url, 'SELECT 1')).toBe(1);
});

test('an initialisation that was killed in the middle is done again', async () => {
  await using home = await createHome();
  await using owner = await spawnOwner(home.dataDir);
  await until('an initdb at work', async () => {
    const names = await readdir(join(home.dataDir, `postgres.new-${owner.pid}`)).catch((): string[] => []);
    return names.includes('PG_VERSION');
  });
  await kill(owner.pid, 'SIGKILL');
  const longGone = join(home.dataDir, 'postgres.new-999999999');
  await mkdir(longGone);
  await writeFile(join(longGone, 'PG_VERSION'), '18\n');
  await using database = await startEmbeddedDatabase(home);
  expect(await ask(database.url, 'SELECT 1')).toBe(1);
  await expect(stat(longGone)).rejects.toThrow('ENOENT');
});

test('a second Willow on the same directory is told who is there, and disturbs nobody', async () => {
  await using home = await createHome();
  await using owner = await startOwner(home.dataDir);
  const { url = '' } = owner.answer;
  expect(await whyNot(home.dataDir)).toBe(
    `The embedded database in ${join(home.dataDir, 'postgres')} is in use by another Willow (process ${owner.pid}): stop that one, or set another DATA_DIR.`,
  );
  expect(await ask(url, 'SELECT 1')).toBe(1);
});

test('of two Willows that start at once in an empty directory one gets it and the other is told so', async () => {
  await using home = await createHome();
  const [one, other] = await Promise.all([startOwner(home.dataDir), startOwner(home.dataDir)]);
  await using _one = one;
  await using _other = other;
  const answers = [one.answer, other.answer];
  const [winner] = answers.filter((answer) => answer.url !== undefined);
  const [loser] = answers.filter((answer) => answer.url === undefined);
  expect(loser?.name).toBe('StartError');
  expect(loser?.message).toContain('in use by another Willow');
  expect(await ask(winner?.url ?? '', 'SELECT 1')).toBe(1);
});

test('the owner remains the owner when PostgreSQL drops all connections after a crash inside it', async () => {
  await using home = await createHome();
  await using database = await startEmbeddedDatabase(home);
  const before = Number(await ask(database.url, lockHolder));
  process.kill(before, 'SIGKILL');
  await until('another connection that holds the lock', async () => {
    const now = await ask(database.url, lockHolder).catch(() => undefined);
    return now !== undefined && now !== before;
  });
  await using second = await startOwner(home.dataDir);
  expect(second.answer.message).toContain('in use by another Willow');
});

test('two Willows with two directories do not meet', async () => {
  await using here = await createHome();
  await using there = await createHome();
  const [one, other] = await Promise.all([startEmbeddedDatabase(here), startEmbeddedDatabase(there)]);
  await using _one = one;
  await using _other = other;
  expect(await ask(one.url, 'SHOW data_directory')).toContain(here.path);
  expect(await ask(other.url, 'SHOW data_directory')).toContain(there.path);
});

test('a directory made by another version of PostgreSQL is refused in one sentence with both versions', async () => {
  await using home = await createHome();
  await (await startEmbeddedDatabase(home))[Symbol.asyncDispose]();
  await writeFile(join(home.dataDir, 'postgres', 'PG_VERSION'), '17\n');
  expect(await whyNot(home.dataDir)).toContain(
    `${join(home.dataDir, 'postgres')} was made by PostgreSQL 17, and this Willow brings PostgreSQL 18`,
  );
});

test('a directory that cannot be one is refused in one sentence', async () => {
  await using home = await createHome();
  await writeFile(join(home.path, 'file'), '');
  expect(await whyNot(join(home.path, 'file', 'data'))).toMatch(/^The embedded database cannot use DATA_DIR .*ENOTDIR/);
  expect(await whyNot(join(home.path, 'a "quoted" name'))).toContain('must not contain quotes');
  await mkdir(join(home.path, 'taken', 'postgres'), { recursive: true });
  await writeFile(join(home.path, 'taken', 'postgres', 'thesis.tex'), '');
  expect(await whyNot(join(home.path, 'taken'))).toContain('holds something else');
});

test('a server that cannot start says why, in PostgreSQL’s own decisive line', async () => {
  await using home = await createHome();
  await (await startEmbeddedDatabase(home))[Symbol.asyncDispose]();
  await writeFile(join(home.dataDir, 'postgres', 'postgresql.conf'), 'shared_buffers = plenty\n');
  expect(await whyNot(home.dataDir)).toMatch(/does not start: FATAL: .*postgresql\.conf/);
});

test.runIf(process.platform === 'linux')(
  isRoot
    ? 'under root the server is not root, even below a directory that only root may enter, and has no more rights than it needs'
    : 'under an ordinary user the server is that user',
  async () => {
    await using home = await createHome();
    expect((await stat(home.path)).mode & 0o777).toBe(0o700);
    {
      await using database = await startEmbeddedDatabase(home);
      expect(await ask(database.url, 'SELECT 1')).toBe(1);
      const { uid, capabilities } = await privilegesOf(await postmasterPid(home.dataDir));
      // CAP_DAC_READ_SEARCH (bit 2), or CAP_DAC_OVERRIDE (bit 1) where the machine withholds the first.
      if (isRoot) expect([2n, 4n]).toContain(capabilities);
      else expect(capabilities).toBe(0n);
      expect(uid === 0).toBe(false);
      expect(uid).toBe(isRoot ? (await stat(join(home.dataDir, 'postgres'))).uid : process.geteuid?.());
    }
    await chmod(home.path, 0o755);
    await using database = await startEmbeddedDatabase(home);
    expect(await ask(database.url, 'SELECT 1')).toBe(1);
    const { uid, capabilities } = await privilegesOf(await postmasterPid(home.dataDir));
    expect(uid === 0).toBe(false);
    // Where everybody may pass, nothing special is granted (unless the programs lie behind a closed door).
    if (!isRoot || (await isOpenToAll(new URL('../../node_modules', import.meta.url).pathname))) {
      expect(capabilities).toBe(0n);
    }
  },
);

test('the programs too may lie below a directory that only its owner may enter', async () => {
  await using home = await createHome();
  const { directory } = await findTools();
  await cp(dirname(directory), join(home.path, 'native'), { recursive: true, verbatimSymlinks: true });
  const bin = join(home.path, 'native', 'bin');
  const [initdb, pgCtl, postgres] = [join(bin, 'initdb'), join(bin, 'pg_ctl'), join(bin, 'postgres')];
  const cluster = join(home.path, 'cluster');
  await mkdir(cluster, { mode: 0o700 });
  const user = await findServerUser({ directory: bin, initdb, pgCtl, postgres }, cluster);
  expect(await user.run(initdb, ['--no-sync', '--auth=reject', `--pgdata=${cluster}`])).toMatchObject({
    succeeded: true,
  });
});

async function isOpenToAll(path: string): Promise<boolean> {
  const ancestors = path.split('/').map((_, index, levels) => levels.slice(0, index + 1).join('/') || '/');
  const modes = await Promise.all(ancestors.map(async (ancestor) => (await stat(ancestor)).mode));
  return modes.every((mode) => (mode & 0o001) !== 0);
}
